"""One connection: requests leave together, replies come back in order, and everybody is told of the end."""

import asyncio
import logging
from traceback import walk_tb
from typing import Any

import pytest

from ringkv.cluster.errors import PeerError
from ringkv.router.lookup.link import Link
from tests.support.data import random_keys
from tests.support.fake_shard import Start, close, garbage, silence, value
from tests.support.processes import eventually

KEYS = random_keys(300, seed=13)


class Asked:
    """A waiter that remembers what it is told, and may fail when it is."""

    def __init__(self, *, fails: bool = False) -> None:
        self.told: list[Any] = []
        self._fails = fails

    def answered(self, reply: Any, _link: Link) -> None:
        self._note(reply)

    def lost(self, _link: Link) -> None:
        self._note("lost")

    def _note(self, what: Any) -> None:
        self.told.append(what)
        if self._fails:
            raise RuntimeError("whoever asked has gone")


async def test_replies_reach_those_who_asked_in_order(start: Start) -> None:
    (shard,) = await start(a=value)
    link = await shard.link()
    waiters = [Asked() for _ in KEYS]
    for key, waiter in zip(KEYS, waiters, strict=True):
        link.get(key, waiter)
    assert link.in_flight == len(KEYS)
    await eventually(lambda: link.in_flight == 0)
    assert [waiter.told for waiter in waiters] == [[b"%b of a" % key] for key in KEYS]
    assert shard.asked == KEYS
    link.close()
    await link.closed


@pytest.mark.parametrize("way", ["answered", "lost"])
async def test_a_waiter_that_fails_does_not_disturb_those_behind_it(
    start: Start, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    (shard,) = await start(a=silence)
    link = await shard.link()
    waiters = [Asked(fails=number % 2 == 0) for number in range(len(KEYS))]
    for key, waiter in zip(KEYS, waiters, strict=True):
        link.get(key, waiter)
    await shard.arrived(len(KEYS))
    with caplog.at_level(logging.ERROR):
        if way == "answered":
            shard.write(b"".join(value(shard, key) for key in KEYS))
        else:
            shard.abort()
        await eventually(lambda: link.in_flight == 0)
    expected = [b"%b of a" % key if way == "answered" else "lost" for key in KEYS]
    assert [waiter.told for waiter in waiters] == [[told] for told in expected]
    assert len(caplog.records) == len(KEYS) // 2
    link.close()
    await link.closed


async def test_replies_to_gets_that_were_asked_for_together_come_together(start: Start) -> None:
    (shard,) = await start(a=silence)
    link = await shard.link()
    before, some, others, behind = [Asked() for _ in range(4)]
    link.get(KEYS[0], before)
    link.gets(KEYS[1:5], some)
    link.gets(KEYS[5:8], others)
    link.get(KEYS[8], behind)
    await shard.arrived(9)
    assert shard.asked == KEYS[:9]
    assert link.in_flight == 9
    replies = [value(shard, key) for key in KEYS[:9]]
    shard.write(b"".join(replies[:3]) + replies[3][:9])
    await eventually(lambda: link.in_flight == 6)
    assert (before.told, some.told) == ([b"%b of a" % KEYS[0]], [])
    shard.write(replies[3][9:] + b"".join(replies[4:6]))
    await eventually(lambda: link.in_flight == 3)
    assert some.told == [[b"%b of a" % key for key in KEYS[1:5]]]
    shard.abort()
    await link.closed
    assert (others.told, behind.told) == (["lost"], ["lost"])


async def test_a_retired_link_closes_when_nothing_waits_any_more(start: Start) -> None:
    (shard,) = await start(a=silence)
    busy, idle = [await shard.link() for _ in range(2)]
    waiter = Asked()
    busy.get(KEYS[0], waiter)
    await shard.arrived(1)
    busy.retire()
    idle.retire()
    await idle.closed
    assert busy.open
    shard.write(value(shard, KEYS[0]))
    await busy.closed
    assert waiter.told == [b"%b of a" % KEYS[0]]


@pytest.mark.parametrize(
    "nonsense", [b"-", b"+OK\r\n+OK\r\n", b"\x00\x01\x02\r\n", b"HTTP/1.1 200 OK\r\n\r\n"], ids=repr
)
async def test_what_is_no_reply_closes_the_link_and_says_why(start: Start, nonsense: bytes) -> None:
    (shard,) = await start(a=lambda _shard, _key: nonsense + b"\r\n" * nonsense.startswith(b"-") + b"+\r\n?\r\n")
    link = await shard.link()
    waiter = Asked()
    link.get(KEYS[0], waiter)
    async with asyncio.timeout(10):
        await link.closed
    assert not link.open
    assert str(link.problem) == "what answers there does not speak the Redis protocol as a shard does"
    assert len(waiter.told) == 1


async def test_calls_are_answered_refused_or_lost(start: Start) -> None:
    shard, broken, other = await start(a=lambda _shard, word: b"+%b\r\n" % word, b=close, c=garbage)
    link = await shard.link()
    assert await link.call("ECHO", "hello") == b"hello"
    shard.answer = lambda _shard, _word: b"-ERR no\r\n"
    with pytest.raises(PeerError, match="ERR no"):
        await link.call("ECHO", "hello")
    link.close()
    await link.closed
    with pytest.raises(ConnectionResetError):
        await link.call("ECHO", "hello")
    for peer, problem in ((broken, ConnectionResetError), (other, PeerError)):
        link = await peer.link()
        with pytest.raises(problem):
            await link.call("ECHO", "hello")


async def test_a_call_that_is_given_up_leaves_the_order_as_it_is(start: Start) -> None:
    (shard,) = await start(a=silence)
    link = await shard.link()
    given_up = asyncio.create_task(link.call("GET", KEYS[0]))
    await shard.arrived(1)
    given_up.cancel()
    await asyncio.gather(given_up, return_exceptions=True)
    waiter = Asked()
    link.get(KEYS[1], waiter)
    await shard.arrived(2)
    shard.write(value(shard, KEYS[0]) + value(shard, KEYS[1]))
    await eventually(lambda: waiter.told)
    assert waiter.told == [b"%b of a" % KEYS[1]]
    link.close()
    await link.closed


async def test_a_lost_link_that_is_called_again_and_again_holds_on_to_none_of_the_calls(start: Start) -> None:
    """As SCAN calls those of a cluster that is gone: a hundred times a second, for as long as no shard is back."""
    (shard,) = await start()
    link = await shard.link()
    link.close()
    await link.closed
    for _ in range(1000):
        with pytest.raises(ConnectionResetError):
            await link.call("KEYSFROM", 0, 10)
    assert len(list(walk_tb(link.problem.__traceback__))) < 10
