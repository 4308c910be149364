"""What a shard answers where a key cannot be read here: whether it exists is for another owner to say."""

from ringkv.cluster.errors import CorruptBlock, RingkvError
from ringkv.cluster.lease import CORRUPT, NOT_LEASED
from ringkv.resp import codec


def refusal(error: RingkvError) -> bytes:
    return codec.error(CORRUPT if isinstance(error, CorruptBlock) else NOT_LEASED, str(error))
