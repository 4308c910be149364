"""The bytes that clients make a process hold: one sum, which `--memory` bounds.

--memory ─┬─ OWN     the process itself: interpreter, libraries, what it knows of the cluster
          └─ rest ─┬─ CLIENTS   what clients have sent without an end, or do not read: where that is too much,
                   │            the connection goes of which it is held for longest
                   └─ slack     what comes in one turn of the event loop, before anybody can be let go
"""

from typing import Final

from ringkv.process.memory import available

OWN: Final = 80 << 20
"""Bytes of the process itself, which a router and a shard take before anybody has asked for anything."""

CLIENTS: Final = 0.4
"""Of what is left, the part that is held for clients. Python needs as much again where that is in small pieces."""

LEAST: Final = 128 << 20
"""Bytes with which a process can serve: OWN, and half as much for its clients."""

SHARE: Final = 0.5
"""Of the memory that there is, what all processes of a command take unless told otherwise; the rest is page cache."""


def memory_of(given: int | None, processes: int = 1) -> int:
    """Bytes for each of so many processes: their share of those that were given, else of what there is."""
    return max(LEAST, (int(available() * SHARE) if given is None else given) // processes)


class Budget:
    """`held` is what is held for clients now, of at most `clients`: bytes."""

    def __init__(self, memory: int) -> None:
        self.clients = int((max(memory, LEAST) - OWN) * CLIENTS)
        self.held = 0

    @property
    def pressed(self) -> bool:
        """Whether nothing should be added."""
        return self.held > self.clients // 2

    @property
    def exceeded(self) -> bool:
        return self.held > self.clients
