"""Memory is claimed in the order of asking, given back whatever happens, and never beyond the budget."""

import asyncio

from ringkv.process.budget import Budget, Claim

MIB = 1 << 20


async def asked(budget: Budget, size: int) -> asyncio.Task[Claim]:
    task = asyncio.create_task(budget.claim(size))
    for _ in range(3):
        await asyncio.sleep(0)
    return task


async def test_who_finds_no_memory_waits_and_nobody_overtakes_him() -> None:
    budget = Budget(256 * MIB)
    first = await budget.claim(100 * MIB)
    large, small = await asked(budget, 64 * MIB), await asked(budget, 1)
    assert not large.done()
    assert not small.done()
    first.release()
    assert (await large).size == 64 * MIB
    assert (await small).size == 1
    assert budget.claimed == 64 * MIB + 1


async def test_what_is_larger_than_the_budget_waits_until_nothing_else_is_claimed_and_little_is_held() -> None:
    budget = Budget(256 * MIB)
    budget.held = budget.clients
    huge = await asked(budget, 1024 * MIB)
    assert not huge.done()
    budget.held = budget.clients // 2
    budget.grant()
    (await huge).release()
    one = await budget.claim(1)
    huge = await asked(budget, 1024 * MIB)
    assert not huge.done()
    one.release()
    await huge


async def test_what_clients_do_not_read_leaves_less_to_claim() -> None:
    budget = Budget(256 * MIB)
    budget.held = 100 * MIB
    (await budget.claim(30 * MIB)).release()
    first = await budget.claim(30 * MIB)
    second = await asked(budget, 30 * MIB)
    assert not second.done()
    first.release()
    await second


async def test_who_stops_waiting_keeps_nothing_and_holds_nobody_up() -> None:
    budget = Budget(256 * MIB)
    first = await budget.claim(140 * MIB)
    waiting, behind = await asked(budget, 140 * MIB), await asked(budget, 10 * MIB)
    waiting.cancel()
    first.release()
    await behind
    first, late = await budget.claim(120 * MIB), await asked(budget, 30 * MIB)
    last = await asked(budget, 120 * MIB)
    first.release()
    late.cancel()  # when it has been granted what it waited for, and does not know yet
    await asyncio.gather(late, return_exceptions=True)
    assert budget.claimed == 130 * MIB
    (await last).release()
    assert budget.claimed == 10 * MIB
    del behind, waiting
    await asyncio.sleep(0)
    assert budget.claimed == 0
