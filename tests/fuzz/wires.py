"""Connections without sockets: what is written is kept, and a shard answers in the next turn of the event loop."""

import asyncio
from typing import Any

from ringkv.cluster.lease import Leased
from ringkv.cluster.ring import build_ring
from ringkv.resp import codec
from ringkv.router.lookup.link import Link
from ringkv.router.lookup.lookup import Lookups
from ringkv.router.lookup.topology import Topology

TURNS = 2000
"""Turns of the event loop in which all that can be answered is answered, by far: what takes more never ends."""


class Wire(asyncio.Transport):
    """A client's end; `written` is what came back."""

    def __init__(self, protocol: Any) -> None:
        super().__init__()
        self.written = bytearray()
        self.closed = False
        self._reading = True
        self._protocol = protocol
        protocol.connection_made(self)

    async def send(self, pieces: list[bytes]) -> bytes:
        """Send these pieces, then nothing more; all that comes back, and whether the connection was closed before."""
        for piece in pieces:
            await _settled()
            if self._reading and not self.closed:
                self._protocol.data_received(piece)
        await _settled()
        end = b"(closed)" if self.closed else b"(open)"
        self.abort()
        await asyncio.sleep(0)
        return bytes(self.written) + end

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self.closed:
            self.written += data

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def get_extra_info(self, _name: str, default: Any = None) -> Any:
        return default

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        self._reading = True

    def close(self) -> None:
        self.abort()

    def abort(self) -> None:
        if not self.closed:
            self.closed = True
            asyncio.get_running_loop().call_soon(self._protocol.connection_lost, None)


async def _settled() -> None:
    """All has happened that can: without sockets and threads, what is not ready in the loop never will be."""
    loop: Any = asyncio.get_running_loop()
    for _ in range(TURNS):
        await asyncio.sleep(0)
        if not loop._ready:  # noqa: SLF001 - nothing else tells, and to count turns takes a hundred times as long
            return
    raise AssertionError(f"still busy after {TURNS} turns")


class _Shard(Wire):
    """A shard's end of a router's link: every other key is there."""

    def __init__(self, link: Link) -> None:
        super().__init__(link)
        self._link = link
        self._requests = codec.reader()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._requests.feed(bytes(data))
        replies = []
        while (args := self._requests.gets()) is not codec.NOT_ENOUGH:
            name, *rest = args
            values = [b"the value of " + key if key[-1] % 2 else None for key in rest]
            replies.append(codec.values(values, codec.NULL) if name == b"MGET" else _one(values[0]))
        asyncio.get_running_loop().call_soon(self._link.data_received, b"".join(replies))


def _one(value: bytes | None) -> bytes:
    return codec.NULL if value is None else codec.bulk(value)


def lookups() -> Lookups:
    """Those of a router with three shards."""
    links = {name: Link() for name in ("a", "b", "c")}
    for link in links.values():
        _Shard(link)
    made = Lookups()
    ring = build_ring(links, 1, 256)
    made.swap(Topology.build(1, 32 * "d", ring, links, dict.fromkeys(links, Leased(10, 1000))))
    return made
