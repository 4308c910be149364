"""Any version that is held can be asked for by its dataset, and every answer says of which it is."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

from ringkv.router.lookup.topology import Topology
from tests.support.data import random_keys
from tests.support.fake_shard import Answer, FakeShard, Start, nothing, silence, topology_of, value
from tests.support.http import Response, fetch
from tests.support.processes import eventually
from tests.support.twins import Twin, twin_of

KEY = random_keys(1, seed=14)[0].decode()
OLD, NEW, NEVER = 32 * "a", 32 * "b", 32 * "c"


async def topology(shard: FakeShard, dataset_id: str, epoch: int) -> Topology:
    made = await topology_of([shard], 1)
    return Topology.build(epoch, dataset_id, made.ring, made.links, made.leased)


class Swapped:
    """A router that has gone over from shard `a`, dataset OLD, to shard `b`, dataset NEW, or is about to."""

    def __init__(self, twin: Twin, old: FakeShard, new: FakeShard) -> None:
        self.lookups = twin.lookups
        self.old = old
        self.new = new
        self._port = twin.port

    async def __call__(self, target: str, method: str = "GET", headers: str = "") -> Response:
        return await fetch("127.0.0.1", self._port, target, method, headers)

    async def swap(self) -> None:
        self.lookups.swap(await topology(self.new, NEW, 3))


Swap = Callable[..., Awaitable[Swapped]]


@pytest.fixture(params=[True, False], ids=["express", "general"])
async def swap(start: Start, request: pytest.FixtureRequest) -> AsyncIterator[Swap]:
    async with AsyncExitStack() as stack:

        async def routed(a: Answer = value, b: Answer = value, *, now: bool = True) -> Swapped:
            old, new = await start(a=a, b=b)
            twin = await stack.enter_async_context(twin_of([old], express=request.param))
            twin.lookups.swap(await topology(old, OLD, 2))
            twin.lookups.kept.let_all_go()
            swapped = Swapped(twin, old, new)
            if now:
                await swapped.swap()
            return swapped

        yield routed


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_each_version_that_is_held_answers_by_its_dataset(swap: Swap, method: str) -> None:
    router = await swap()
    for target, tag, name in (("", NEW, "b"), (f"?dataset={OLD}", OLD, "a"), (f"?dataset={NEW}", NEW, "b")):
        answer = await router(f"/{KEY}{target}", method)
        assert (answer.status, answer.headers["ETag"]) == (200, f'"{tag}"')
        assert answer.body == (b"" if method == "HEAD" else f"{KEY} of {name}".encode())


async def test_a_key_may_be_in_one_version_and_not_in_the_other(swap: Swap) -> None:
    router = await swap(b=nothing)
    assert (await router(f"/{KEY}")).status == 404
    assert (await router(f"/{KEY}?dataset={OLD}")).status == 200


async def test_a_dataset_that_is_not_held_is_410_with_those_that_are(swap: Swap) -> None:
    router = await swap()
    answer = await router(f"/{KEY}?dataset={NEVER}")
    assert (answer.status, answer.body.decode()) == (410, f"dataset {NEVER} is not held; held: {NEW}, {OLD}\n")
    router.lookups.kept.let_all_go()
    answer = await router(f"/{KEY}?dataset={OLD}")
    assert (answer.status, answer.body.decode()) == (410, f"dataset {OLD} is not held; held: {NEW}\n")


@pytest.mark.parametrize("text", ["", "x", OLD.upper(), OLD[1:], OLD + "a", "dataset-1", f"{OLD}%0A", "%C2%B2"])
async def test_what_is_no_dataset_is_400(swap: Swap, text: str) -> None:
    router = await swap()
    answer = await router(f"/{KEY}?dataset={text}")
    assert answer.status == 400
    assert answer.body.startswith(b"not the id of a dataset: dataset=")
    assert answer.body.count(b"\n") == 1


async def test_without_a_ring_no_dataset_can_be_told(swap: Swap) -> None:
    router = await swap()
    router.lookups.topology = None
    assert (await router(f"/{KEY}?dataset={OLD}")).status == 503


async def test_who_holds_a_value_of_a_version_is_told_so_for_that_one(swap: Swap) -> None:
    router = await swap()
    held = f'If-None-Match: "{OLD}"\r\n'
    assert (await router(f"/{KEY}?dataset={OLD}", headers=held)).status == 304
    assert router.old.asked == []
    answer = await router(f"/{KEY}", headers=held)
    assert (answer.status, answer.headers["ETag"]) == (200, f'"{NEW}"')


async def test_an_answer_that_was_under_way_at_a_swap_names_the_dataset_that_it_is_of(swap: Swap) -> None:
    """Named by the next one, a client would take the old value for the new one at every If-None-Match."""
    router = await swap(a=silence, now=False)
    asking = asyncio.create_task(router(f"/{KEY}"))
    await router.old.arrived(1)
    await router.swap()
    router.old.write(value(router.old, KEY.encode()))
    answer = await asking
    assert (answer.status, answer.body, answer.headers["ETag"]) == (200, f"{KEY} of a".encode(), f'"{OLD}"')
    answer = await router(f"/{KEY}")
    assert (answer.body, answer.headers["ETag"]) == (f"{KEY} of b".encode(), f'"{NEW}"')


@pytest.mark.usefixtures("short_deadline")
async def test_a_kept_version_whose_shard_is_gone_is_unavailable_and_never_missing(swap: Swap) -> None:
    router = await swap()
    router.old.abort()
    await eventually(lambda: not any(link.open for kept, _ in router.lookups.kept for link in kept.links.values()))
    answer = await router(f"/{KEY}?dataset={OLD}")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
    assert (await router(f"/{KEY}")).status == 200
    assert router.lookups.in_flight == 0
