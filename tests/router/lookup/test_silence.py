"""What a shard that hangs was asked is asked elsewhere at once, even if hedges have no budget left."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from ringkv.router.lookup.link import Link
from ringkv.router.lookup.lookup import Lookups
from ringkv.router.lookup.silence import Silence
from ringkv.router.members.controller import Controller
from ringkv.router.members.events import EventLog
from ringkv.router.policy import HEARTBEAT_TIMEOUT, SILENT_TICKS, TICK
from ringkv.router.settings import Cluster, Discovery
from tests.support.batches import get_many, lookups_of
from tests.support.data import EXAMPLE, random_keys, read_pairs
from tests.support.fake_shard import FakeShard, Start, silence, topology_of, value
from tests.support.processes import SpawnedShard, Spawner, eventually

KEYS = random_keys(60, seed=12)


class Waiting:
    """Counts what it is told."""

    answers = 0

    def answered(self, _reply: object, _link: Link) -> None:
        self.answers += 1

    def lost(self, _link: Link) -> None: ...


@pytest.fixture(autouse=True)
def no_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ringkv.router.lookup.hedging.HEDGE_BURST", 0)
    monkeypatch.setattr("ringkv.router.lookup.hedging.HEDGE_BUDGET", 0.0)


async def all_asked(lookups: Lookups, keys: list[bytes]) -> list[object]:
    async with asyncio.timeout(20):
        return await asyncio.gather(*map(lookups.get, keys))


@pytest.mark.usefixtures("no_deadline")
async def test_what_a_hung_shard_owes_is_asked_of_the_other_owner_once(start: Start) -> None:
    hung, quick = await start(a=silence, b=value)
    hung.hangs = True
    lookups = await lookups_of([hung, quick], 2)
    assert await all_asked(lookups, KEYS) == [b"%b of b" % key for key in KEYS]
    assert lookups.counters.hedged == len(hung.asked) > 0
    assert len(quick.asked) == len(KEYS)


@pytest.mark.usefixtures("no_deadline")
async def test_what_a_hung_shard_owes_is_asked_of_the_other_owner_once_that_answers_again(start: Start) -> None:
    hung, late = await start(a=silence, b=silence)
    hung.hangs = late.hangs = True
    lookups = await lookups_of([hung, late], 2)
    asking = [asyncio.create_task(lookups.get(key)) for key in KEYS]
    links = lookups.topology.links.values() if lookups.topology else ()
    await eventually(lambda: not any(link.responsive for link in links))
    assert lookups.counters.hedged == 0
    late.hangs = False
    late.answer = value
    late.write(b"".join(value(late, key) for key in late.asked))
    async with asyncio.timeout(20):
        assert await asyncio.gather(*asking) == [b"%b of b" % key for key in KEYS]
    assert lookups.counters.hedged == len(hung.asked) > 0


async def test_what_silent_shards_owe_is_told_when_it_may_be_asked_elsewhere_and_not_at_each_tick(start: Start) -> None:
    shards = await start(a=silence, b=silence, c=silence)
    for shard in shards:
        shard.hangs = True
    topology = await topology_of(shards, 3)
    waiting, looking = Waiting(), Silence()
    for link in topology.links.values():
        for key in KEYS:
            link.get(key, waiting)
    looks = [looking.look(topology) for _ in range(20 * SILENT_TICKS)]
    assert [len(owed) for owed in looks if owed] == [3 * len(KEYS)]
    # What is asked of silent shards for want of others is owed like what they were asked before.
    topology.links["a"].get(KEYS[0], waiting)
    await shards[2].arrived(len(KEYS))
    shards[2].write(b"".join(value(shards[2], key) for key in KEYS))
    await eventually(lambda: waiting.answers == len(KEYS))
    looks = [looking.look(topology) for _ in range(20 * SILENT_TICKS)]
    assert [len(owed) for owed in looks if owed] == [2 * len(KEYS) + 1]


@pytest.mark.usefixtures("no_deadline")
async def test_a_shard_that_is_lost_is_not_taken_for_one_that_answers(start: Start) -> None:
    shards = await start(a=value, b=value)
    lookups = await lookups_of(shards, 2)
    links = lookups.topology.links if lookups.topology else {}
    shards[0].abort()
    await links["a"].closed
    Silence().look(lookups.topology)
    assert not links["a"].responsive
    assert await all_asked(lookups, KEYS) == [b"%b of b" % key for key in KEYS]


@pytest.mark.usefixtures("no_deadline")
async def test_what_a_hung_shard_was_asked_for_want_of_others_is_asked_of_who_answers(
    start: Start,
) -> None:
    hung, late = await start(a=silence, b=silence)
    hung.hangs = late.hangs = True
    lookups = await lookups_of([hung, late], 2)
    before, behind = KEYS[:30], KEYS[30:]
    asking = [asyncio.create_task(lookups.get(key)) for key in before]
    links = lookups.topology.links.values() if lookups.topology else ()
    await eventually(lambda: not any(link.responsive for link in links))
    asking += [asyncio.create_task(lookups.get(key)) for key in behind]
    await eventually(lambda: len(hung.asked) + len(late.asked) == len(KEYS))
    late.hangs = False
    late.answer = value
    late.write(b"".join(value(late, key) for key in late.asked))
    async with asyncio.timeout(20):
        assert await asyncio.gather(*asking) == [b"%b of b" % key for key in KEYS]


@pytest.mark.usefixtures("no_deadline")
async def test_a_hung_shard_is_asked_for_nothing_more_until_it_answers(start: Start) -> None:
    shard, quick = await start(a=silence, b=value)
    shard.hangs = True
    lookups = await lookups_of([shard, quick], 2)
    await all_asked(lookups, KEYS)
    asked = len(shard.asked)
    # Also when it has the fewest requests in flight: of the other owner far more is asked here.
    await all_asked(lookups, KEYS + random_keys(500, seed=13))
    assert len(shard.asked) == asked
    shard.write(b"".join(value(shard, key) for key in shard.asked))
    shard.answer = value

    async def asked_again() -> None:
        while len(shard.asked) == asked:
            await all_asked(lookups, KEYS)

    await asyncio.wait_for(asked_again(), 20)


@pytest.mark.usefixtures("no_deadline")
async def test_a_shard_that_hung_is_asked_for_batches_again_when_it_answers(start: Start) -> None:
    """Also when nothing but batches is asked for meanwhile."""
    shard, quick = await start(a=silence, b=value)
    shard.hangs = True
    lookups = await lookups_of([shard, quick], 2)
    await all_asked(lookups, KEYS)
    await asyncio.sleep(5 * TICK)  # nothing is looked up any more
    assert lookups.topology is not None
    assert not lookups.topology.links["a"].responsive
    shard.write(b"".join(value(shard, key) for key in shard.asked))
    shard.answer = value

    async def asked_again() -> None:
        while not shard.batches:
            assert all(await get_many(lookups, KEYS))
            await asyncio.sleep(TICK)

    await asyncio.wait_for(asked_again(), 5)


@pytest.mark.usefixtures("no_deadline")
async def test_a_slow_shard_that_answers_heartbeats_is_not_hung(start: Start) -> None:
    slow, quick = await start(a=silence, b=value)
    lookups = await lookups_of([slow, quick], 2)
    asking = [asyncio.create_task(lookups.get(key)) for key in KEYS]
    await slow.arrived(1)
    await asyncio.sleep(0.3)  # far longer than it takes to find one that hangs
    assert lookups.counters.hedged == 0
    slow.write(b"".join(value(slow, key) for key in slow.asked))
    assert set(await asyncio.gather(*asking)) == {
        b"%b of %b" % (key, b"a" if key in slow.asked else b"b") for key in KEYS
    }


@pytest.mark.usefixtures("no_deadline")
@pytest.mark.parametrize("names", ["a", "ab"])
async def test_where_all_owners_hang_the_answer_of_the_first_one_counts(start: Start, names: str) -> None:
    shards: list[FakeShard] = await start(**dict.fromkeys(names, silence))
    for shard in shards:
        shard.hangs = True
    lookups = await lookups_of(shards, len(names))
    asking = [asyncio.create_task(lookups.get(key)) for key in KEYS]
    links = lookups.topology.links.values() if lookups.topology else ()
    await eventually(lambda: not any(link.responsive for link in links))
    late = asyncio.create_task(lookups.get(KEYS[0]))
    await eventually(lambda: sum(len(shard.asked) for shard in shards) == len(KEYS) + 1)
    assert lookups.counters.hedged == 0
    for shard in shards:
        shard.write(b"".join(value(shard, key) for key in shard.asked))
    async with asyncio.timeout(20):
        assert all(await asyncio.gather(*asking, late))
    assert lookups.in_flight == 0


@asynccontextmanager
async def routed(shards: list[SpawnedShard]) -> AsyncIterator[Lookups]:
    """Lookups of a router without ports, by two replicas."""
    lookups = Lookups()
    discovery = Discovery(frozenset(shard.address for shard in shards))
    running = asyncio.create_task(Controller(Cluster(discovery, replicas=2), lookups, EventLog()).run())
    try:
        await eventually(lambda: lookups.topology is not None and len(lookups.topology.links) == len(shards))
        yield lookups
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        if lookups.topology is not None:  # its links close when they owe nothing any more
            await asyncio.gather(*[link.closed for link in lookups.topology.links.values()])


async def test_a_stopped_process_holds_nobody_up_until_it_is_given_up(
    spawn: Spawner, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nothing but silence can help before this: there is no budget, and the link is not closed. No delay of a busy
    # machine is as long.
    monkeypatch.setattr("ringkv.router.members.member.HEARTBEAT_TIMEOUT", 10 * HEARTBEAT_TIMEOUT)
    shards = [spawn.shard(EXAMPLE, "--leased", "--name", f"shard-{number}") for number in (1, 2, 3)]
    pairs = dict(read_pairs(EXAMPLE))
    ticks = 0

    async def count(others: list[Link]) -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(TICK)
            await asyncio.gather(*[link.call("PING") for link in others])
            ticks += 1

    async def asked(lookups: Lookups) -> float:
        """The longest wait of requests that are sent a few at once, in ticks, by which silence goes, as seconds.

        Only such ticks count in which the other shards answer: without a processor or a disk they hold up, too.
        """
        longest = 0
        others = [await shard.address.connect(Link) for shard in (shards[0], shards[2])]
        counting = asyncio.create_task(count(others))
        await eventually(lambda: ticks)
        for key, wanted in pairs.items():
            before = ticks
            found = await asyncio.gather(*[lookups.get(each) for each in (key, *list(pairs)[:8])])
            longest = max(longest, ticks - before)
            assert found[0] == wanted
        counting.cancel()
        for link in others:
            link.close()
            await link.closed
        return longest * TICK

    async with routed(shards) as lookups:
        os.kill(shards[1].spawned.pid, signal.SIGSTOP)
        try:
            assert await asked(lookups) < HEARTBEAT_TIMEOUT / 2
        finally:
            os.kill(shards[1].spawned.pid, signal.SIGCONT)
        assert lookups.counters.hedged > 0
        assert lookups.counters.unavailable == 0
