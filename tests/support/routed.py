"""A router without ports in the test's own process, with fake shards that offer versions as they are told."""

import asyncio
from collections.abc import Awaitable, Callable

from ringkv.cluster.lease import Offered
from ringkv.cluster.limits import GATE
from ringkv.resp import codec
from ringkv.router.lookup.lookup import Lookups
from ringkv.router.members.controller import Controller
from ringkv.router.members.events import EventLog, Kind
from ringkv.router.settings import Cluster, Discovery
from tests.support.data import random_keys
from tests.support.fake_shard import Answer, FakeShard
from tests.support.processes import eventually

KEYS = random_keys(100, seed=33)
A, B, C = (
    Offered(serial, f"{serial:032x}", 256, False, f"user{serial}", "2026-07-01T10:20:30Z") for serial in (5, 6, 7)
)


def holding(name: bytes, keys: list[bytes]) -> Answer:
    """Values that name their version, of these keys alone."""
    held = frozenset(keys)
    return lambda _shard, key: codec.bulk(b"%b of %b" % (key, name)) if key in held else codec.NULL


class Routed:
    """A router's controller and lookups, and the shards that it serves by."""

    def __init__(
        self, shards: list[FakeShard], replicas: int = 1, gate: float = GATE, offered: tuple[Offered, ...] = (A,)
    ) -> None:
        """The shards hold all of KEYS in all versions."""
        self.shards = shards
        for shard in shards:
            shard.of = {version.dataset_id: holding(name, KEYS) for version, name in ((A, b"a"), (B, b"b"), (C, b"c"))}
            shard.offer(*offered)
        self.lookups = Lookups()
        self.events = EventLog()
        discovery = Discovery(frozenset(shard.address for shard in shards))
        self.controller = Controller(Cluster(discovery, replicas, gate=gate), self.lookups, self.events)
        self.running = asyncio.create_task(self.controller.run())

    def offer(self, *versions: Offered) -> None:
        for shard in self.shards:
            shard.offer(*versions)

    async def serves(self, version: Offered) -> None:
        await eventually(lambda: self.controller.versions.version == version)
        assert self.lookups.topology is not None
        assert self.lookups.topology.dataset_id == version.dataset_id

    async def ask(self) -> None:
        """Ask for all keys, so that the gate has something to ask for."""
        await asyncio.gather(*map(self.lookups.get, KEYS))
        for key in KEYS:
            self.lookups.sample.take(key)

    def told(self, kind: Kind = Kind.VERSION) -> list[str]:
        return [event.text for event in self.events.latest() if event.kind == kind]


Route = Callable[..., Awaitable[Routed]]
