"""A shard that does what a test tells it: answers late, wrongly, by halves or not at all."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, cast

from ringkv.cluster.lease import WRONG_DATASET, Heartbeat, Leased, LeaseRequest, Offered, versions_section
from ringkv.cluster.ring import build_ring
from ringkv.process.address import Address
from ringkv.resp import codec
from ringkv.router.lookup.link import Link
from ringkv.router.lookup.pulse import Pulse
from ringkv.router.lookup.topology import Topology

Answer = Callable[["FakeShard", bytes], bytes | None]
"""From a key to the reply's bytes, or None for silence."""

BatchAnswer = Callable[["FakeShard", list[bytes]], bytes | None]
"""The same for the keys of one MGET."""

LeaseAnswer = Callable[["FakeShard", LeaseRequest], bytes | None]
"""The same for a LEASE."""

KeysAnswer = Callable[["FakeShard", int, int], bytes | None]
"""The same for a KEYSFROM, with its cursor and its count."""

PARTITIONS = 256


def value(shard: "FakeShard", key: bytes) -> bytes:
    return codec.bulk(b"%b of %b" % (key, shard.name.encode()))


def silence(_shard: "FakeShard", _key: bytes) -> None:
    return None


def nothing(_shard: "FakeShard", _key: bytes) -> bytes:
    return codec.NULL


def not_leased(_shard: "FakeShard", _key: bytes) -> bytes:
    return codec.error("NOTLEASED", "partition 7 is not leased here; ask an owner of it")


def corrupt(_shard: "FakeShard", _key: bytes) -> bytes:
    return codec.error("CORRUPT", "/data: partition 7 is damaged")


def close(shard: "FakeShard", _key: bytes) -> None:
    shard.abort()


def half_then_close(shard: "FakeShard", key: bytes) -> None:
    shard.write(value(shard, key)[:-9])
    shard.close()


def garbage(_shard: "FakeShard", _key: bytes) -> bytes:
    return b"HTTP/1.1 400 Bad Request\r\n\r\n"


def each(shard: "FakeShard", keys: list[bytes]) -> bytes | None:
    """MGET as GET for each key: an error, garbage or silence for one is that for all."""
    replies = []
    for key in keys:
        reply = shard.answer(shard, key)
        if reply is None or reply[:1] != b"$":
            return reply
        replies.append(reply)
    return codec.array(replies)


def together(shard: "FakeShard", keys: list[bytes]) -> bytes:
    """The replies to GETs that arrive together."""
    return b"".join(value(shard, key) for key in keys)


def no_keys(_shard: "FakeShard", _cursor: int, _count: int) -> bytes:
    return codec.error("ERR", "this shard tells no keys")


def leased(shard: "FakeShard", request: LeaseRequest) -> bytes:
    """As a shard does: what it offers is leased."""
    if request.dataset_id not in {version.dataset_id for version in shard.offered}:
        return codec.error(WRONG_DATASET, f"{shard.name} offers other datasets")
    return codec.simple(Leased(1, 100).reply())


class FakeShard:
    """One server on a Unix socket.

    `asked` are the keys that arrived, in order, `batches` the sizes of MGETs, `scanned` the arguments of KEYSFROMs,
    `heard` is what the latest heartbeat named, `served` what it tells of other routers. While it `hangs` no heartbeat
    is answered, nor is INFO.
    `leases` what was leased, `held` the datasets of the leases that have not ended. What it offers it tells and leases
    as a shard does; `offer` changes it. `of` has how it answers of a dataset that was leased, if not by `answer`.
    """

    def __init__(self, name: str, address: Address, answer: Answer) -> None:
        self.name = name
        self.address = address
        self.answer = answer
        self.answer_batch: BatchAnswer = each
        self.answer_keys: KeysAnswer = no_keys
        self.asked: list[bytes] = []
        self.scanned: list[tuple[int, int]] = []
        self.batches: list[int] = []
        self.answer_lease: LeaseAnswer = leased
        self.of: dict[str, Answer] = {}
        self.leases: list[LeaseRequest] = []
        self.held: list[str] = []
        self.heartbeat = Heartbeat(draining=False, checked=100, revision=0, direct=0)  # all of `leased`
        self.offered: tuple[Offered, ...] = ()
        self.served = ""
        self.heard: tuple[bytes, ...] = ()
        self._changed = asyncio.Event()
        self._transports: list[asyncio.Transport] = []
        self.links: list[Link] = []
        self.hangs = False

    async def start(self) -> None:
        self._server = await self.address.listen(lambda: _Session(self))

    async def arrived(self, count: int) -> None:
        """Wait until so many keys have been asked for."""
        async with asyncio.timeout(10):
            while len(self.asked) < count:
                self._changed.clear()
                await self._changed.wait()

    def offer(self, *versions: Offered) -> None:
        """Offer these versions from now on, the newest first."""
        self.offered = versions
        self.heartbeat = replace(self.heartbeat, revision=self.heartbeat.revision + 1)

    def write(self, data: bytes) -> None:
        """Send to whoever is connected."""
        for transport in self._transports:
            transport.write(data)

    def close(self) -> None:
        """End the connections once all is sent."""
        for transport in self._transports:
            transport.close()

    def abort(self) -> None:
        """End the connections at once, as the death of the process does."""
        for transport in self._transports:
            transport.abort()

    async def link(self) -> Link:
        """A connection to this shard that ends with it."""
        link = await self.address.connect(Link)
        link.pulse = _Beating(self)
        self.links.append(link)
        return link

    async def end(self) -> None:
        self._server.close()
        self.abort()
        for link in self.links:
            link.close()
            await link.closed
        await self._server.wait_closed()

    def _connected(self, transport: asyncio.Transport) -> None:
        self._transports.append(transport)

    def _get(self, key: bytes, dataset_id: str) -> bytes | None:
        self.asked.append(key)
        self._changed.set()
        return self.of.get(dataset_id, self.answer)(self, key)

    def _mget(self, keys: list[bytes], dataset_id: str) -> bytes | None:
        self.asked += keys
        self.batches.append(len(keys))
        self._changed.set()
        answer = self.of.get(dataset_id)
        return (
            self.answer_batch(self, keys) if answer is None else codec.array([answer(self, key) or b"" for key in keys])
        )

    def _exists(self, key: bytes, dataset_id: str) -> bytes | None:
        reply = self.of.get(dataset_id, self.answer)(self, key)
        return codec.integer(reply != codec.NULL) if reply is not None and reply[:1] == b"$" else reply

    def _keys_from(self, cursor: int, count: int) -> bytes | None:
        self.scanned.append((cursor, count))
        return self.answer_keys(self, cursor, count)

    def _info(self) -> bytes:
        about = {
            "name": self.name,
            "run_id": self.name.encode().hex().rjust(32, "0"),
            **versions_section(self.offered, self.served),
        }
        return codec.bulk("\r\n".join(f"{name}:{value}" for name, value in about.items()))

    def _lease(self, request: LeaseRequest) -> bytes | None:
        self.leases.append(request)
        return self.answer_lease(self, request)


class _Beating(Pulse):
    """Heartbeats without a member that sends them."""

    def __init__(self, shard: FakeShard) -> None:
        super().__init__()
        self._shard = shard

    def hurry(self) -> None:
        self.answered += not self._shard.hangs


class _Session(asyncio.Protocol):
    def __init__(self, shard: FakeShard) -> None:
        self._shard = shard
        self._reader = codec.reader()
        self._dataset_id = ""  # that of its lease

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._shard._connected(self._transport)  # noqa: SLF001 - one thing in two classes

    def connection_lost(self, _exc: Exception | None) -> None:
        if self._dataset_id:
            self._shard.held.remove(self._dataset_id)

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        while (args := cast("Any", self._reader.gets())) is not codec.NOT_ENOUGH:
            reply = self._reply(*args)
            if reply is not None:
                self._transport.write(reply)

    def _reply(self, name: bytes, *args: bytes) -> bytes | None:
        shard, dataset_id = self._shard, self._dataset_id
        match name:
            case b"MGET":
                return shard._mget(list(args), dataset_id)  # noqa: SLF001 - one thing in two classes
            case b"KEYSFROM":
                return shard._keys_from(int(args[0]), int(args[1]))  # noqa: SLF001
            case b"INFO":
                return None if shard.hangs else shard._info()  # noqa: SLF001
            case b"HEARTBEAT":
                shard.heard = args
                return None if shard.hangs else codec.simple(shard.heartbeat.reply())
            case b"LEASE":
                return self._lease(LeaseRequest.parse(list(args)))
            case _:
                ask = shard._exists if name == b"EXISTS" else shard._get  # noqa: SLF001
                return ask(args[-1], dataset_id)

    def _lease(self, request: LeaseRequest) -> bytes | None:
        reply = self._shard._lease(request)  # noqa: SLF001
        if reply is not None and reply[:1] == b"+":
            self._dataset_id = request.dataset_id
            self._shard.held.append(request.dataset_id)
        return reply


Start = Callable[..., Awaitable[list[FakeShard]]]


async def topology_of(shards: list[FakeShard], replicas: int, epoch: int = 1, keys: int = 1) -> Topology:
    """A topology with a link of its own to each shard, which has leased so many keys."""
    links = {shard.name: await shard.link() for shard in shards}
    ring = build_ring(links, replicas, PARTITIONS)
    return Topology.build(epoch, f"dataset-{epoch}", ring, links, dict.fromkeys(links, Leased(keys, 100 * keys)))
