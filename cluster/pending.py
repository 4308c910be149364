"""A reply that is not known yet: it keeps the place that its request has among the others of the connection."""

from collections.abc import Callable


class Pending:
    """`reply` is None until `answer`; with `blocks`, no request behind it is begun before that.

    `notify` is told when the reply is there.
    """

    __slots__ = ("_notify", "reply")

    blocks = False

    def __init__(self, notify: Callable[[], None]) -> None:
        self._notify = notify
        self.reply: bytes | None = None

    def answer(self, reply: bytes) -> None:
        self.reply = reply
        self._notify()

    def abandon(self) -> None:
        """The client has gone: nobody wants the reply."""
