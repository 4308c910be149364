"""What all clients together make a process hold stays within its part of the memory, and others are served."""

import asyncio
import gc
from pathlib import Path

import pytest
from aiohttp import web

from ringkv.process.budget import CLIENTS, LEAST, OWN, memory_of
from ringkv.process.closings import Reason
from ringkv.process.connections import CLOSE_TOGETHER, ConnectionGuard, ConnectionLimits, Waiting
from ringkv.process.stalled import READ_FREELY, READ_TOGETHER
from tests.process.test_connections import KEY, PORTS, SMALL, Port
from tests.support.processes import eventually
from tests.support.resp import command

LIMITS = ConnectionLimits(memory=LEAST)
PART = int((LEAST - OWN) * CLIENTS)
"""Bytes that may be held for clients."""

KEYS = (KEY + b"\n") * 80_000
HALVES = {
    "redis": command("MGET", *4 * [b"x" * 900_000])[:-2],
    "http": b"POST /mget HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(KEYS) + 1, KEYS),
}
"""Requests without their last bytes."""


class Client:
    """A connection as a guard sees it, that notes what is done to it; one that is dropped ends in the next turn."""

    def __init__(self, guard: ConnectionGuard) -> None:
        self._guard = guard
        self.stalled = False
        self.dropped: Reason | None = None
        guard.admit(self, None)

    def waiting(self) -> Waiting:
        return "header", 0

    def stall(self, *, stalled: bool) -> None:
        self.stalled = stalled

    def look(self) -> None: ...

    def drop(self, reason: Reason) -> None:
        self.dropped = reason
        asyncio.get_running_loop().call_soon(self._guard.leave, self)


def test_processes_share_what_is_given_and_each_has_enough_to_serve() -> None:
    assert memory_of(1 << 30, 4) == 256 << 20
    assert memory_of(1 << 20, 4) == LEAST
    assert memory_of(None, 10_000) == LEAST


async def test_who_would_add_to_much_waits_until_there_is_less() -> None:
    guard = ConnectionGuard(LIMITS)
    first, second, third = Client(guard), Client(guard), Client(guard)
    guard.hold(first, PART // 2)
    await eventually(lambda: not first.stalled)  # as soon as others have had their turn
    guard.hold(second, 1 << 20)
    assert [first.stalled, second.stalled, third.stalled] == [False, True, False]
    guard.hold(first, 0)
    await eventually(lambda: not second.stalled)
    assert guard.budget.held == 1 << 20
    guard.leave(second)
    assert guard.budget.held == 0
    assert first.dropped is second.dropped is None


async def test_who_send_much_take_turns() -> None:
    guard = ConnectionGuard(LIMITS)
    clients = [Client(guard) for _ in range(9)]
    for client in clients:
        guard.hold(client, READ_FREELY)
        assert not client.stalled
        guard.hold(client, READ_FREELY + 1)
        assert client.stalled
    await asyncio.sleep(0)
    before = sum(client.stalled for client in clients)
    await asyncio.sleep(0)
    assert before - READ_TOGETHER == sum(client.stalled for client in clients) > 0
    *rest, last = clients
    guard.leave(last)
    await eventually(lambda: not any(client.stalled for client in rest))
    await asyncio.sleep(0)
    assert last.stalled  # who has left is told nothing more


async def test_many_who_go_at_once_hold_up_nobody_for_long() -> None:
    """Of a thousand that have said nothing in time a hundred are looked at together, but some are closed in a turn."""
    guard = ConnectionGuard(ConnectionLimits(header=0.3))
    clients = [Client(guard) for _ in range(1000)]
    most = before = 0
    while before < len(clients):
        await asyncio.sleep(0)
        now = guard.closed["header"]
        most, before = max(most, now - before), now
    assert all(client.dropped == "header" for client in clients)
    assert 0 < most <= 2 * CLOSE_TOGETHER


async def test_beyond_all_of_it_the_one_goes_for_whom_something_is_held_for_longest() -> None:
    guard = ConnectionGuard(LIMITS)
    first, second, third = Client(guard), Client(guard), Client(guard)
    for client in (second, first, third):
        guard.hold(client, PART // 3)
    guard.hold(third, PART // 3 + 8)
    assert [first.dropped, second.dropped, third.dropped] == [None, "memory", None]
    assert guard.closed["memory"] == 1
    assert guard.budget.held < PART


async def test_who_holds_up_others_and_sends_nothing_goes_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ringkv.process.connections.PRESSED_SECONDS", 0.05)
    guard = ConnectionGuard(LIMITS)
    first, second = Client(guard), Client(guard)
    guard.hold(first, PART // 2)
    guard.hold(second, 1)
    await eventually(lambda: first.dropped and not second.stalled)
    assert second.dropped is None


@pytest.mark.parametrize("name", ["the lane", "redis", "shard"])
async def test_halves_of_requests_stay_within_their_part_beside_one_who_asks(name: str, tmp_path: Path) -> None:
    half = HALVES["http" if name == "the lane" else "redis"]
    async with PORTS[name](LIMITS, tmp_path) as port, port.client() as (reader, writer):
        greedy = [asyncio.create_task(_send(port, half)) for _ in range(20)]
        while not port.guard.closed["memory"]:
            await port.ask(reader, writer)
            assert port.guard.budget.held <= PART
            await asyncio.sleep(0)
        for task in greedy:
            task.cancel()
        await asyncio.gather(*greedy, return_exceptions=True)
        await port.ask(reader, writer)
        await eventually(lambda: not port.guard.budget.held)


async def _send(port: Port, half: bytes) -> None:
    async with port.client() as (_, writer):
        writer.write(half)
        await asyncio.Event().wait()


@pytest.mark.parametrize(("name", "said"), [("the lane", b"HTTP/1.1 413 "), ("redis", b"-ERR no memory")])
async def test_a_client_with_half_a_request_is_told_why_it_goes(name: str, said: bytes, tmp_path: Path) -> None:
    async with PORTS[name](LIMITS, tmp_path) as port, port.client() as (reader, writer):
        writer.write(HALVES["http" if name == "the lane" else "redis"][:50_000])
        await eventually(lambda: port.guard.budget.held)
        port.guard.hold(other := Client(port.guard), PART)
        assert (await reader.read()).startswith(said)
        assert other.dropped is None
        port.guard.leave(other)


@pytest.mark.parametrize("name", list(PORTS))
async def test_a_pipeline_of_thousands_is_answered_although_few_of_it_are_looked_at_at_once(
    name: str, tmp_path: Path
) -> None:
    async with PORTS[name](LIMITS, tmp_path) as port, port.client() as (reader, writer):
        await port.ask(reader, writer)
        writer.write(port.request * 3000)
        answers, tail = 0, b""
        mark = b"\r\nContent-Length: " if b"HTTP" in port.request else b"\r\n"
        wanted = 3000 if b"HTTP" in port.request else 6000
        while answers < wanted:
            data = tail + await reader.read(1 << 16)
            assert not reader.at_eof()
            answers += data.count(mark)
            tail = data[-len(mark) + 1 :]
        await eventually(lambda: not port.guard.budget.held)


@pytest.mark.parametrize("name", ["aiohttp", "shard's http"])
async def test_of_a_connection_that_stays_no_answer_is_kept(name: str, tmp_path: Path) -> None:
    async with PORTS[name](LIMITS, tmp_path, bytes(200_000) + SMALL) as port, port.client() as (reader, writer):
        await port.ask(reader, writer)
        responses = [each for each in gc.get_objects() if type(each) is web.Response]
        assert responses
        assert not [each for each in responses if isinstance(each.body, bytes) and len(each.body) > 100_000]
