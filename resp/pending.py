"""A reply that is not known yet: it keeps the place that its request has among the others of the connection."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from ringkv.process.cancelling import cancel
from ringkv.resp import codec

log = logging.getLogger("ringkv.resp")


class Pending:
    """`reply` is None until `answer`; with `blocks`, no request behind it is begun before that.

    `notify` is called when the reply is there; whoever makes it a part of another reply replaces the connection's own.
    A pending reply may stand for the replies to `count` requests that arrived together.
    """

    __slots__ = ("count", "notify", "reply")

    blocks = False

    def __init__(self, notify: Callable[[], None]) -> None:
        self.notify = notify
        self.count = 1
        self.reply: bytes | None = None

    @property
    def held(self) -> int:
        """Bytes of it that are there already."""
        return len(self.reply or b"")

    def answer(self, reply: bytes) -> None:
        self.reply = reply
        self.notify()

    def turn(self) -> None:
        """Called when all before it is sent and the client reads: again and again, until the reply is there."""

    def abandon(self) -> None:
        """The client has gone: the reply is not needed any more."""


class Awaited(Pending):
    """The reply that a coroutine returns some time later; nothing behind it is begun before that."""

    __slots__ = ("_coroutine", "_task")

    blocks = True

    def __init__(self, notify: Callable[[], None], reply: Coroutine[Any, Any, bytes]) -> None:
        super().__init__(notify)
        self._coroutine = reply
        self._task = asyncio.create_task(self._wait(reply))

    def abandon(self) -> None:
        cancel(self._task)
        self._task.add_done_callback(self._close)

    async def _wait(self, reply: Coroutine[Any, Any, bytes]) -> None:
        try:
            encoded = await reply
        except Exception as error:
            log.exception("a reply could not be made")
            encoded = codec.error("ERR", str(error) or type(error).__name__)
        self.answer(encoded)

    def _close(self, _ended: asyncio.Task[None]) -> None:
        self._coroutine.close()  # it may not have begun, of which Python would complain


class Unheard(Pending):
    """The place of a reply that is not sent: the client has asked for silence."""

    __slots__ = ("_pending", "blocks")

    def __init__(self, pending: Pending) -> None:
        super().__init__(pending.notify)
        self.blocks = pending.blocks
        self._pending = pending
        if pending.reply is None:
            pending.notify = self._known
        else:
            self.reply = b""

    @property
    def held(self) -> int:
        return self._pending.held

    def turn(self) -> None:
        self._pending.turn()

    def abandon(self) -> None:
        self._pending.abandon()

    def _known(self) -> None:
        self.answer(b"")
