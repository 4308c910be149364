"""The requests between MULTI and EXEC. They need no isolation, as nothing ever changes: they only wait for EXEC."""

from collections.abc import Mapping
from typing import Any, Final

from ringkv.cluster.nodes import key_slot
from ringkv.resp import codec
from ringkv.resp.command import Args, Command, find

AT_ONCE: Final = frozenset({b"MULTI", b"EXEC", b"DISCARD", b"WATCH", b"QUIT", b"RESET"})
"""Commands that are executed at once, also between MULTI and EXEC."""

MAX_QUEUED: Final = 16 << 20
"""Bytes that the requests of one transaction may take in memory: about 90,000 GETs."""

_OBJECT: Final = 64
"""About the bytes that Python needs for a request or an argument besides those that were sent."""


class Queue:
    """`requests` in the order they came, and the `bytes` of memory they take; `broken` once one could not be queued.

    `crosses`: their keys are of several slots, where they have to be of one.
    """

    def __init__(self, immutable: str, *, one_slot: bool) -> None:
        """`immutable` is the word with which the refusal of a write begins."""
        self.requests: list[tuple[Command[Any], Args]] = []
        self.broken = False
        self.bytes = 0
        self._immutable = immutable
        self._one_slot = one_slot
        self._slots: set[int] = set()

    @property
    def crosses(self) -> bool:
        return len(self._slots) > 1

    def add(self, commands: Mapping[bytes, Command[Any]], args: Args) -> bytes | None:
        """Queue a request; returns what is replied for now: QUEUED, or why it cannot be queued.

        None if it is not queued, as it is to be executed at once.
        """
        command = find(commands, args, self._immutable)
        if isinstance(command, bytes):
            return self._break(command)
        if args[0].upper() in AT_ONCE:
            return None
        if not command.queues:
            return self._break(codec.error("ERR", "Command not allowed inside a transaction"))
        self.bytes += _OBJECT * (2 + len(args)) + sum(map(len, args))
        if self.bytes > MAX_QUEUED:
            self.requests.clear()
            return self._break(codec.error("ERR", f"a transaction may hold at most {MAX_QUEUED} bytes of requests"))
        if self._one_slot and not self.crosses:
            self._slots.update(map(key_slot, command.keys(args)))
        self.requests.append((command, args))
        return codec.simple("QUEUED")

    def _break(self, problem: bytes) -> bytes:
        self.broken = True
        return problem
