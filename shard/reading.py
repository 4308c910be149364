"""A reply that needs blocks which are not in memory: they are read side by side, then it is made as if they were."""

import logging
from collections.abc import Callable, Collection

from ringkv.resp import codec
from ringkv.resp.pending import Pending
from ringkv.shard.blocks import Blocks
from ringkv.shard.body import Body, Read
from ringkv.shard.reads import Reads

log = logging.getLogger("ringkv.shard")

Make = Callable[[], "bytes | Pending"]


class Reading(Pending):
    """Waits for blocks, then makes the reply with them. By then that may need further blocks, and wait again."""

    __slots__ = ("_blocks", "_bodies", "_has_turn", "_made", "_make", "_unread")

    def __init__(
        self, notify: Callable[[], None], has_turn: Callable[[Pending], bool], blocks: Blocks, make: Make
    ) -> None:
        """`has_turn` tells whether a reply is sent by itself, and not as a part of another one."""
        super().__init__(notify)
        self._has_turn = has_turn
        self._made: Pending | None = None
        self._blocks = blocks
        self._make = make
        # With what was read before, as that may have left the memory again when further blocks have come.
        self._bodies: dict[int, Body] = dict(blocks.held)
        self._unread = 0

    def begin(self, reads: Reads, missing: Collection[Read]) -> "Reading":
        """Do these reads, at least one, each of another block."""
        self._unread = len(missing)
        for read in missing:
            reads.begin(read, self._arrived)
        return self

    @property
    def held(self) -> int:
        return super().held if self._made is None else self._made.held

    def turn(self) -> None:
        if self._made is not None:
            self._made.turn()

    def abandon(self) -> None:
        if self._made is not None:
            self._made.abandon()

    def _arrived(self, read: Read, body: Body) -> None:
        self._bodies[read.block] = body
        self._unread -= 1
        if self._unread:
            return
        try:
            reply = self._blocks.holding(self._bodies, self._make)
        except Exception as error:
            # Others wait for this block and for those behind it, and must be told whatever happens here.
            log.exception("a reply could not be made")
            reply = codec.error("ERR", str(error) or type(error).__name__)
        if isinstance(reply, bytes):
            self.answer(reply)
        elif reply.reply is not None:
            self.answer(reply.reply)
        else:
            self._made = reply
            reply.notify = lambda: self.answer(reply.reply or b"")
            if self._has_turn(self):
                self.notify()
            else:
                reply.turn()
