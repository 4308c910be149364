"""What is much work for one request is done in parts, or refused: others have their turn between them."""

import asyncio

import pytest

from ringkv.resp.client_commands import TOGETHER
from ringkv.resp.requests import MAX_ARGUMENTS
from ringkv.resp.session import Session
from tests.process.test_fairness import LONGEST, turns
from tests.support.data import random_keys
from tests.support.fake_shard import Start, value
from tests.support.processes import eventually
from tests.support.redis_port import Serve, told
from tests.support.resp import command

MANY = MAX_ARGUMENTS - 10


async def test_many_names_that_are_no_keys_hold_up_nobody(start: Start, serve: Serve) -> None:
    port = await serve(*await start(a=value))
    client, [key] = await port.connect(), random_keys(1, seed=62)
    request = command("MGET", *MANY * [b"-" * 34], key)
    async with turns() as longest:
        client.send(request)
        *nothing, found = await client.read()
    assert (len(nothing), any(nothing), found) == (MANY, False, b"%b of a" % key)
    assert longest[0] < LONGEST


@pytest.mark.parametrize(
    ("count", "args", "begins"),
    [(55_000, ("CLIENT", "INFO"), b"id="), (4000, ("INFO",), b"# Server")],
    ids=["CLIENT INFO", "INFO"],
)
async def test_a_transaction_of_requests_that_wait_for_nobody_holds_up_nobody(
    start: Start, serve: Serve, count: int, args: tuple[str, ...], begins: bytes
) -> None:
    port = await serve(*await start(a=value))
    client = await port.connect()
    client.send(command("MULTI"), count * command(*args), command("EXEC"))
    assert await client.read() == b"OK"
    assert {await client.read() for _ in range(count)} == {b"QUEUED"}
    async with turns() as longest:
        replies = await client.read()
    assert len(replies) == count
    assert all(reply.startswith(begins) for reply in replies)
    assert longest[0] < LONGEST


async def test_a_client_that_goes_in_such_a_transaction_ends_it(start: Start, serve: Serve) -> None:
    port = await serve(*await start(a=value))
    client, other = await port.connect(), await port.connect()
    client.send(command("MULTI"), 5000 * command("INFO"), command("EXEC"))
    for _ in range(5001):
        await client.read()
    server = port.port.server
    client.writer.transport.abort()
    await eventually(lambda: server.connections == 1)
    assert await other("PING") == b"PONG"
    await asyncio.sleep(0)
    assert not server.turns._line  # noqa: SLF001 - nothing else shows it


@pytest.mark.parametrize(
    "args",
    [
        ("HELLO", 2, *(MANY // 2) * ["SETNAME", "a"]),
        ("COMMAND", "INFO", *MANY * ["GET"]),
        ("CLIENT", "LIST", "ID", *MANY * [1]),
        ("INFO", *MANY * ["all"]),
    ],
    ids=lambda args: " ".join(map(str, args[:2])),
)
async def test_only_commands_that_name_keys_have_many_arguments(
    start: Start, serve: Serve, args: tuple[str | int, ...]
) -> None:
    port = await serve(*await start(a=value))
    client = await port.connect()
    request = command(*args)
    async with turns() as longest:
        client.send(request)
        assert told(await client.read()) == f"ERR wrong number of arguments for '{str(args[0]).lower()}' command"
    assert longest[0] < LONGEST


async def test_clients_are_listed_in_parts(start: Start, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    port = await serve(*await start(a=value))
    clients = [await port.connect() for _ in range(3 * TOGETHER)]
    for client in clients:
        await client("CLIENT", "SETNAME", "somebody")
    described, description = 0, Session.description

    def counting(session: Session) -> str:
        nonlocal described
        described += 1
        return description(session)

    monkeypatch.setattr(Session, "description", counting)
    listing = [asyncio.create_task(client("CLIENT", "LIST")) for client in clients[:5]]
    before = most = 0
    while not all(each.done() for each in listing):
        await asyncio.sleep(0)
        most, before = max(most, described - before), described
    assert most <= 2 * TOGETHER
    assert {(await each).count(b"name=somebody") for each in listing} == {len(clients)}
