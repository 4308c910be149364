"""A reply that needs blocks which are not in memory: they are read side by side, then it is made as if they were."""

import logging
from collections.abc import Callable
from collections.abc import Set as AbstractSet

from ringkv.resp import codec
from ringkv.resp.pending import Pending
from ringkv.shard.blocks import Blocks
from ringkv.shard.body import Body
from ringkv.shard.reads import Reads

log = logging.getLogger("ringkv.shard")

Make = Callable[[], "bytes | Pending"]


class Reading(Pending):
    """Waits for `blocks`, then makes the reply with them. That may need others by then, and be pending again."""

    __slots__ = ("_blocks", "_bodies", "_made", "_make", "_unread")

    def __init__(self, notify: Callable[[], None], blocks: Blocks, make: Make) -> None:
        super().__init__(notify)
        self._blocks = blocks
        self._make = make
        # Of a reply that needs others now, with what was read for it before: that may have left the memory again.
        self._bodies: dict[int, Body] = dict(blocks.held)
        self._unread = 0
        self._made: Pending | None = None  # if what was made is pending again

    @property
    def stuck(self) -> bool:  # type: ignore[override]
        return self._made is not None and self._made.stuck

    def turn(self, *, waits: bool = True) -> None:
        if self._made is not None:
            self._made.turn(waits=waits)

    def abandon(self) -> None:
        if self._made is not None:
            self._made.abandon()
        super().abandon()

    def begin(self, reads: Reads, missing: AbstractSet[int]) -> "Reading":
        """Read the blocks that are `missing`, at least one."""
        self._unread = len(missing)
        for block in missing:
            reads.begin(block, self._arrived)
        return self

    def _arrived(self, block: int, body: Body) -> None:
        self._bodies[block] = body
        self._unread -= 1
        if self._unread:
            return
        try:
            with self._blocks.holding(self._bodies):
                reply = self._make()
        except Exception as error:
            # Others wait for the same block, and for the blocks behind it: they are told whatever happens here.
            log.exception("a reply could not be made")
            reply = codec.error("ERR", str(error) or type(error).__name__)
        if isinstance(reply, bytes):
            self.answer(reply)
        elif reply.reply is not None:
            self.answer(reply.reply)
        else:
            self._made = reply
            reply.notify = self._come
            self.notify()

    def _come(self) -> None:
        made = self._made
        if made is None or made.reply is None:
            self.notify()
        else:
            self.claims, made.claims = made.claims, ()
            self.answer(made.reply)
