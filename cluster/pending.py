"""A reply that is not known yet: it keeps the place that its request has among the others of the connection."""

from collections.abc import Callable


class Pending:
    """`reply` is None until `answer`; with `blocks`, no request behind it is begun before that.

    `notify` is told when the reply is there. It may be the replies to `count` requests that arrived together.
    """

    __slots__ = ("_notify", "count", "reply")

    blocks = False

    def __init__(self, notify: Callable[[], None]) -> None:
        self._notify = notify
        self.count = 1
        self.reply: bytes | None = None

    def answer(self, reply: bytes) -> None:
        self.reply = reply
        self._notify()

    def abandon(self) -> None:
        """The client has gone: nobody wants the reply."""
