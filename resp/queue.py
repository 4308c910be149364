"""The requests between MULTI and EXEC. Nothing ever changes, so that they only wait to be answered together."""

from collections.abc import Mapping
from typing import Any, Final

from ringkv.resp import codec
from ringkv.resp.command import Args, Command, find

AT_ONCE: Final = frozenset({b"MULTI", b"EXEC", b"DISCARD", b"WATCH", b"QUIT", b"RESET"})
"""What is not queued."""

MAX_QUEUED: Final = 16 << 20
"""Bytes that the requests of one transaction may take in memory: about 90,000 GETs."""

_OBJECT: Final = 64
"""About the bytes that Python needs for a request or an argument besides those that were sent."""


class Queue:
    """`requests` in the order they came, with the `bytes` that they take; `broken` once one could not be queued."""

    def __init__(self, immutable: str) -> None:
        """`immutable` begins the refusal of a write."""
        self.requests: list[tuple[Command[Any], Args]] = []
        self.broken = False
        self.bytes = 0
        self._immutable = immutable

    def add(self, commands: Mapping[bytes, Command[Any]], args: Args) -> bytes:
        """The reply that a request gets instead of its own."""
        command = find(commands, args, self._immutable)
        if isinstance(command, bytes):
            return self._break(command)
        if not command.queues:
            return self._break(codec.error("ERR", "Command not allowed inside a transaction"))
        self.bytes += _OBJECT * (2 + len(args)) + sum(map(len, args))
        if self.bytes > MAX_QUEUED:
            self.requests.clear()
            return self._break(codec.error("ERR", f"a transaction may hold at most {MAX_QUEUED} bytes of requests"))
        self.requests.append((command, args))
        return codec.simple("QUEUED")

    def _break(self, problem: bytes) -> bytes:
        self.broken = True
        return problem
