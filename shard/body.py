"""The result of reading a block, and whether it is right: shared by blocks, their reads and the warm-up."""

from ringkv.cluster.errors import BlockNotFetched
from ringkv.dataset.block import Row, damage
from ringkv.dataset.segment import Segment

Body = bytes | OSError | BlockNotFetched
"""The block's body, or the error that reading it has brought."""


class NotInMemory(Exception):
    """The read of a block would have to wait. No failure: `shard.reads` reads it, and the lookup is repeated."""

    def __init__(self, block: int) -> None:
        super().__init__(block)
        self.block = block


def read_body(segment: Segment, row: Row) -> bytes | OSError:
    """The body of a block, read from its segment, or the error that this has brought. In any thread."""
    try:
        return segment.read(row.offset, row.size)
    except OSError as error:
        return error


def why_wrong(body: Body | memoryview, row: Row) -> str:
    """Why the result of reading a block is not the body that its row describes; "" if it is."""
    if isinstance(body, OSError):
        return f"cannot be read: {body.strerror}"
    return str(body) if isinstance(body, BlockNotFetched) else damage(body, row)
