"""What a read of a block brings, and what there is to say of it: what blocks, their reads and their warm-up share."""

from ringkv.cluster.errors import BlockNotFetched
from ringkv.dataset.block import Row, damage

Body = bytes | OSError | BlockNotFetched
"""The block's body, or why there is none."""


class NotInMemory(Exception):
    """A block would have to be waited for. No error: it is read elsewhere, and then asked for again."""

    def __init__(self, block: int) -> None:
        super().__init__(block)
        self.block = block


def why_wrong(body: Body | memoryview, row: Row) -> str:
    """Why a body, or what came instead when it was read, is not the one that its row describes; "" if it is."""
    if isinstance(body, OSError):
        return f"cannot be read: {body.strerror}"
    return str(body) if isinstance(body, BlockNotFetched) else damage(body, row)
