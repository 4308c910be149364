"""The reply of a shard to a key that it cannot read: whether the key exists, another owner has to say."""

from ringkv.cluster.errors import CorruptBlock, LargeValue, RingkvError
from ringkv.cluster.lease import CORRUPT, LARGE, NOT_LEASED
from ringkv.resp import codec


def no_memory(size: int) -> str:
    """Why a value of so many bytes is not sent now."""
    return f"no memory for a value of {size} bytes; try again later"


def refusal(error: RingkvError) -> bytes:
    if isinstance(error, LargeValue):
        return codec.error(LARGE, str(error.size))
    return codec.error(CORRUPT if isinstance(error, CorruptBlock) else NOT_LEASED, str(error))
