"""The read of a block, its result, and whether that is right: shared by blocks, their reads and the warm-up."""

from collections.abc import Callable

from ringkv.cluster.errors import BlockNotFetched
from ringkv.dataset.block import Row, damage
from ringkv.dataset.segment import Segment
from ringkv.shard.refused import UNREAD

Body = bytes | bytearray | OSError | BlockNotFetched
"""The block's body, or the error that reading it has brought."""


class Read:
    """The read of one block. `begun` is by the loop's clock, in seconds; `arrived` are called when it has ended."""

    __slots__ = ("arrived", "begun", "block", "ended", "row", "segment")

    def __init__(self, block: int, segment: Segment, row: Row) -> None:
        self.block = block
        self.segment = segment
        self.row = row
        self.begun = 0.0
        self.ended = False
        self.arrived: list[Arrived] = []


Arrived = Callable[[Read, Body], None]
"""Called with a read that has ended, and the block's body, or why it could not be read."""


class NotInMemory(Exception):
    """The read of a block would have to wait. No failure: `shard.reads` does it, and the lookup is repeated."""

    # Without __init__: a call of it would cost more than all else that is done to raise this.

    @property
    def read(self) -> Read:
        """The read that is to be done."""
        read: Read = self.args[0]
        return read


def read_body(segment: Segment, row: Row) -> bytes | OSError:
    """The body of a block, read from its segment, or the error that this has brought. In any thread."""
    try:
        return segment.read(row.offset, row.size)
    except OSError as error:
        return error


def why_wrong(body: Body | memoryview, row: Row) -> str:
    """Why the result of reading a block is not the body that its row describes; "" if it is."""
    if isinstance(body, OSError):
        return f"{UNREAD}{body.strerror}"
    return str(body) if isinstance(body, BlockNotFetched) else damage(body, row)
