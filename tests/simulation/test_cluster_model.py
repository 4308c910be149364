"""Random lives of a cluster, on a simulated clock, against the simplest model of it: a dictionary."""

import asyncio
import gc
import random
import shutil
import tempfile
from collections import deque
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from ringkv.dataset.catalog import Catalog, new_folder
from ringkv.dataset.dataset import Dataset
from ringkv.process.address import Address
from ringkv.router.lookup.batch import fetch
from ringkv.router.lookup.lookup import Lookup, Lookups, Reply
from ringkv.router.members.controller import Controller
from ringkv.router.members.events import EventLog
from ringkv.router.settings import Cluster, Discovery
from tests.simulation.clock import SimulatedLoop
from tests.simulation.machine import SimulatedShard
from tests.support.packed import pack_pairs

NAMES = [f"shard-{number}" for number in range(1, 6)]
CALM = 5.0
"""Two disturbances in as many seconds are survived; more could keep a request waiting until its deadline."""


VERSIONS: Final = 4


def pairs(version: int) -> dict[bytes, bytes]:
    """Each value names its version; each version lacks other keys, fewer than the gate would refuse it for."""
    rng = random.Random(1)
    keys = [str(UUID(int=rng.getrandbits(128), version=4)).encode() for _ in range(2_000)]
    rng.seed(version)
    return {key: b"%d %b" % (version, key[: rng.randrange(36)]) for key in keys if rng.random() > 0.03}


class Model(NamedTuple):
    """A catalog's folder with nothing published, and the pairs of each dataset in it; `folders` are where they are."""

    catalog: Path
    folders: dict[str, str]
    pairs: dict[str, dict[bytes, bytes]]

    @classmethod
    def make(cls, folder: Path) -> "Model":
        catalog = folder / "catalog"
        folders: dict[str, str] = {}
        found: dict[str, dict[bytes, bytes]] = {}
        catalog.mkdir()
        for version in range(VERSIONS):
            (folder / str(version)).mkdir()
            packed = pack_pairs(folder / str(version), pairs(version))
            with Dataset.open(packed) as dataset:
                dataset_id = dataset.manifest.dataset_id
            folders[dataset_id] = new_folder(dataset_id)
            packed.rename(catalog / folders[dataset_id])
            found[dataset_id] = pairs(version)
        return cls(catalog, folders, found)

    def right(self, dataset_id: str | None, key: bytes, reply: object) -> bool:
        """Whether the dataset that is said to have answered holds this."""
        return dataset_id in self.pairs and reply == self.pairs[dataset_id or ""].get(key)


class ClusterLife(RuleBasedStateMachine):
    model: Model

    def __init__(self) -> None:
        super().__init__()
        self.loop = SimulatedLoop()
        self.folder = tempfile.mkdtemp(prefix="rk-")
        self.addresses = {name: Address(f"{self.folder}/{name}", None) for name in NAMES}
        self.shards: dict[str, SimulatedShard] = {}
        self.disturbed: deque[float] = deque([-CALM, -CALM], maxlen=2)
        self.asked = 0
        self.wrong: list[object] = []
        self.answered = 0
        self.batches: set[asyncio.Task[None]] = set()
        self.random = random.Random(2)
        self.keys = sorted(set().union(*self.model.pairs.values()))
        self.catalog = Catalog.at(shutil.copytree(self.model.catalog, Path(self.folder, "catalog"), symlinks=True))

    @initialize(count=st.integers(2, 5), replicas=st.integers(1, 2))
    def begin(self, count: int, replicas: int) -> None:
        self.publish(0)

        async def begin() -> None:
            for name in NAMES[:count]:
                await self.launch(name)
            self.lookups = Lookups(self.loop.time)
            discovery = Discovery(frozenset(self.addresses.values()))
            self.controller = Controller(Cluster(discovery, replicas), self.lookups, EventLog())
            self.controlling = asyncio.create_task(self.controller.run())

        self.loop.run_until_complete(begin())

    async def launch(self, name: str) -> None:
        shard = SimulatedShard(Path(self.folder, "catalog"), name, self.addresses[name])
        await shard.start()
        self.shards[name] = shard

    def healthy(self) -> list[str]:
        return [name for name, shard in self.shards.items() if shard.healthy]

    def may_disturb(self) -> bool:
        return len(self.healthy()) > 1 and self.loop.time() - self.disturbed[0] >= CALM

    def disturb(self, choice: int) -> str:
        self.disturbed.append(self.loop.time())
        names = self.healthy()
        return names[choice % len(names)]

    def publish(self, choice: int) -> None:
        dataset_id, folder = list(self.model.folders.items())[choice]
        self.catalog.swap(self.catalog.current(), dataset_id, folder, "somebody@somewhere", False)

    @rule(choice=st.integers(0, VERSIONS - 1))
    def a_version_is_published(self, choice: int) -> None:
        """Or rolled back to, which is the same."""
        self.publish(choice)

    @rule(count=st.integers(1, 50))
    def read(self, count: int) -> None:
        async def read() -> None:
            for key in self.some(count):
                self.asked += 1
                made: list[Lookup] = []
                lookup = self.lookups.start(key, partial(self.take, key, made))
                assert lookup is not None
                made.append(lookup)

        self.loop.run_until_complete(read())

    @rule(count=st.integers(1, 200))
    def read_together(self, count: int) -> None:
        keys = self.some(count)

        async def read() -> None:
            batch = await fetch(self.lookups, keys)
            pairs = zip(keys, batch.values, strict=True)
            self.wrong += [pair for pair in pairs if not self.model.right(batch.dataset_id, *pair)]

        async def begin() -> None:
            self.batches.add(asyncio.create_task(read()))

        self.loop.run_until_complete(begin())

    def take(self, key: bytes, made: list[Lookup], reply: Reply) -> None:
        self.answered += 1
        if not self.model.right(made[0].dataset_id, key, reply):
            self.wrong.append((key, reply))

    def some(self, count: int) -> list[bytes]:
        return [self.random.choice([*self.random.sample(self.keys, 5), self.absent()]) for _ in range(count)]

    def absent(self) -> bytes:
        return str(UUID(int=self.random.getrandbits(128), version=4)).encode()

    @rule(seconds=st.floats(0, 3))
    def time_passes(self, seconds: float) -> None:
        self.loop.run_until_complete(asyncio.sleep(seconds))

    @precondition(may_disturb)
    @rule(choice=st.integers(0, 4))
    def a_shard_is_killed(self, choice: int) -> None:
        shard = self.shards.pop(self.disturb(choice))
        self.loop.run_until_complete(shard.kill())

    @precondition(may_disturb)
    @rule(choice=st.integers(0, 4))
    def a_shard_hangs(self, choice: int) -> None:
        self.shards[self.disturb(choice)].stop()

    @precondition(may_disturb)
    @rule(choice=st.integers(0, 4))
    def a_shard_is_told_to_leave(self, choice: int) -> None:
        name = self.disturb(choice)

        async def leave() -> None:
            self.shards[name].leave()

        self.loop.run_until_complete(leave())

    @rule()
    def hung_shards_go_on(self) -> None:
        async def go_on() -> None:
            for shard in self.shards.values():
                shard.go_on()

        self.loop.run_until_complete(go_on())

    @rule(name=st.sampled_from(NAMES))
    def a_shard_starts(self, name: str) -> None:
        old = self.shards.get(name)
        if old is None or (old.leaving is not None and old.leaving.done()):
            self.loop.run_until_complete(self.launch(name))

    def teardown(self) -> None:
        try:
            if self.shards:
                self.loop.run_until_complete(self.end())
        finally:
            self.loop.run_until_complete(self.clean_up())
            self.loop.close()
            shutil.rmtree(self.folder)

    async def clean_up(self) -> None:
        """Leave nothing open, also after a failure."""
        for shard in self.shards.values():
            await shard.kill()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await asyncio.sleep(1)

    async def end(self) -> None:
        for shard in self.shards.values():
            shard.go_on()
        await asyncio.sleep(20)
        assert not self.controlling.done()
        await asyncio.gather(*self.batches)
        assert self.answered == self.asked
        assert not self.wrong
        assert self.lookups.in_flight == 0
        current = self.catalog.current()
        served = self.controller.versions.version
        assert current is not None
        assert served is not None
        assert (served.serial, served.dataset_id) == (current.version.serial, current.version.dataset)
        assert self.lookups.topology is not None
        assert self.lookups.topology.dataset_id == served.dataset_id
        self.controlling.cancel()
        await asyncio.gather(self.controlling, return_exceptions=True)
        await asyncio.sleep(1)
        for shard in self.shards.values():
            assert (shard.leases, shard.leased) == (0, 0), shard.name
            assert shard.held <= 2, shard.name


# asyncio's own loop, unlike uvloop, forgets a connection that it accepts in the turn in which the server closes.
@pytest.mark.filterwarnings("ignore:.*socket.socket:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:.*_SelectorTransport.__del__:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.timeout(600)
def test_no_random_life_of_a_cluster_fails_or_mixes_an_answer_or_leaves_a_lease(tmp_path: Path) -> None:
    life = type("Life", (ClusterLife,), {"model": Model.make(tmp_path)})
    run_state_machine_as_test(
        life,
        settings=settings(
            max_examples=100,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    gc.collect()  # what was forgotten is told of here, where that is expected, and not in whatever test comes next
