"""Large values: their sizes are known before they are read, they wait for room, and small ones do not wait for them."""

from collections.abc import AsyncIterator, Callable

import pytest

from ringkv.cluster.limits import SMALL_VALUE
from ringkv.process.budget import COPIES, Budget
from ringkv.resp import codec
from ringkv.router.lookup.whole import PART
from tests.support.data import random_keys
from tests.support.fake_shard import FakeShard, Start
from tests.support.processes import eventually
from tests.support.redis_port import Serve, ServedPort, told
from tests.support.resp import command

KEYS = random_keys(40, seed=71)
LARGE = {key: bytes([number]) * (3 << 20) for number, key in enumerate(KEYS[:8])}
ROOM = COPIES * (3 << 20)


def answer(_shard: FakeShard, key: bytes) -> bytes:
    return codec.bulk(LARGE.get(key, key))


@pytest.fixture
async def port(start: Start, serve: Serve) -> AsyncIterator[ServedPort]:
    """A port with room for one large value."""
    served: ServedPort = await serve(*await start(a=answer, b=answer))
    served.lookups.budget.large = ROOM
    yield served
    assert served.lookups.in_flight == 0


async def test_they_are_read_in_parts_and_come_in_the_order_asked(port: ServedPort) -> None:
    client = await port.connect()
    order = [KEYS[20], *KEYS[:4], KEYS[21], KEYS[4], KEYS[22]]
    client.send(codec.get_commands(order), command("MGET", *order[:3]), command("MGET", *order, *KEYS[23:39]))
    for key in order:
        assert await client.read() == LARGE.get(key, key)
    assert await client.read() == [LARGE.get(key, key) for key in order[:3]]
    assert await client.read() == [LARGE.get(key, key) for key in [*order, *KEYS[23:39]]]
    await eventually(lambda: port.lookups.budget.held == 0)
    assert PART < 3 << 20


async def test_a_transaction_has_them_and_is_refused_those_for_which_there_is_no_room(port: ServedPort) -> None:
    client = await port.connect()
    for request in (("MULTI",), ("GET", KEYS[0]), ("GET", KEYS[20]), ("STRLEN", KEYS[1])):
        await client(*request)
    first, small, refused = await client("EXEC")
    assert (first, small) == (LARGE[KEYS[0]], KEYS[20])
    assert told(refused).startswith("TRYAGAIN no room for so large a value")
    port.lookups.budget.large = 2 * ROOM
    for request in (("MULTI",), ("GET", KEYS[0]), ("GET", KEYS[1])):
        await client(*request)
    assert await client("EXEC") == [LARGE[KEYS[0]], LARGE[KEYS[1]]]
    await eventually(lambda: port.lookups.budget.held == 0)


async def test_who_reads_nothing_has_one_and_small_values_do_not_wait_for_it(
    port: ServedPort, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ringkv.router.lookup.whole.DEADLINE", 0.3)
    greedy, polite = await port.connect(), await port.connect()
    greedy.writer.transport.pause_reading()  # type: ignore[attr-defined]
    greedy.send(codec.get_commands(KEYS[:8]) * 4)
    await eventually(lambda: port.lookups.budget.held == ROOM)
    for key in KEYS[20:30]:
        assert await polite("GET", key) == key
    assert told(await polite("GET", KEYS[1])).startswith("TRYAGAIN no room for so large a value")
    assert port.lookups.budget.held == ROOM
    greedy.writer.transport.abort()
    await eventually(lambda: port.lookups.budget.held == 0)
    assert await polite("GET", KEYS[1]) == LARGE[KEYS[1]]


def test_room_is_given_in_the_order_asked_and_to_one_that_is_larger_than_all_of_it() -> None:
    budget = Budget(256 << 20)
    granted: list[str] = []

    def note(name: str) -> Callable[[], None]:
        return lambda: granted.append(name)

    huge = budget.claim(budget.large, note("huge"))
    small, gone, last = (budget.claim(SMALL_VALUE, note(name)) for name in ("small", "gone", "last"))
    assert granted == ["huge"]
    assert budget.waiting == 3
    gone.release()
    huge.release()
    huge.release()
    assert granted == ["huge", "small", "last"]
    assert budget.held == 2 * COPIES * SMALL_VALUE
    small.release()
    last.release()
    assert budget.held == 0
