"""How a router meets a shard that has just begun to listen."""

import asyncio
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from statistics import median

import pytest
from tenacity import AsyncRetrying, RetryCallState

from ringkv.process.address import Address
from ringkv.router.lookup.durations import Durations
from ringkv.router.lookup.link import Link
from ringkv.router.members.events import EventLog
from ringkv.router.members.member import Member, Opening, backoff
from ringkv.router.members.membership import Candidate
from ringkv.router.policy import RECONNECT_MAX, RECONNECT_MAX_LOCAL
from tests.support.fake_shard import Start, nothing, silence
from tests.support.processes import eventually, short_directory
from tests.support.routed import KEYS, A, Routed

ATTEMPTS = 10


async def test_on_this_machine_a_shard_is_looked_for_often_however_long_it_takes_to_start() -> None:
    tried: list[float] = []

    class Timed(Opening):
        async def link(self, address: Address, durations: Durations | None = None) -> Link:
            tried.append(asyncio.get_running_loop().time())
            return await super().link(address, durations)

    with short_directory() as folder:
        member = Member(Address(f"{folder}/nobody", None), Timed(), lambda: None, EventLog("router"))
        watching = asyncio.create_task(member.watch())
        await eventually(lambda: len(tried) > ATTEMPTS)
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
    # A backoff that goes on doubling comes to half a second meanwhile.
    assert median(later - before for before, later in pairwise(tried)) < 0.2


async def test_what_turns_out_to_be_no_shard_is_left_again_each_time(start: Start) -> None:
    (stranger,) = await start(**{"no name": silence})
    opened: list[Link] = []

    class Noted(Opening):
        async def link(self, address: Address, durations: Durations | None = None) -> Link:
            opened.append(await super().link(address, durations))
            return opened[-1]

    member = Member(stranger.address, Noted(), lambda: None, EventLog("router"))
    watching = asyncio.create_task(member.watch())
    await eventually(lambda: len(opened) > 3)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    assert not any(link.open for link in opened[:-1])


async def test_a_shard_that_comes_back_is_not_leaving_because_the_one_before_it_was(start: Start) -> None:
    """Also where the loss of another connection was noticed first."""
    (shard,) = await start()
    met: list[Candidate] = []

    def changed() -> None:
        if member.candidate is not None:
            met.append(member.candidate)

    member = Member(shard.address, Opening(), changed, EventLog("router"))
    watching = asyncio.create_task(member.watch())
    serving = shard.heartbeat
    shard.heartbeat = replace(serving, draining=True)
    await eventually(lambda: member.draining)
    shard.heartbeat = serving
    met.clear()
    member.doubt()
    await eventually(lambda: met)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    assert not met[0].draining


@pytest.mark.parametrize(
    ("address", "longest"),
    [(Address("/nobody", None), RECONNECT_MAX_LOCAL), (Address("192.0.2.1", 7379), RECONNECT_MAX)],
)
def test_however_long_a_shard_does_not_come_a_wait_is_computed_with_floats(address: Address, longest: float) -> None:
    """The same power of an int has as many bits as there were attempts: computing it holds the event loop up."""
    waiting = backoff(address)
    attempt = RetryCallState(AsyncRetrying(), None, (), {})
    attempt.attempt_number = 10_000
    assert isinstance(waiting.exp_base, float)
    assert waiting(attempt) == longest


async def test_where_one_of_two_addresses_is_cut_off_a_shard_is_asked_at_the_other(start: Start) -> None:
    """Nobody is told that it is cut off: its connections stay, and the shard lives."""
    here, there = await start(here=nothing, there=nothing)
    there.name = here.name  # and with it the run id: it is one process
    routed = Routed([here, there])
    await routed.serves(A)
    assert (here.held, there.held) == ([A.dataset_id], [])
    here.hangs = True
    here.of[A.dataset_id] = silence
    found = await asyncio.gather(*map(routed.lookups.find, KEYS))
    assert found == [(b"%b of a" % key, A.dataset_id) for key in KEYS]
    routed.running.cancel()
    await asyncio.gather(routed.running, return_exceptions=True)
