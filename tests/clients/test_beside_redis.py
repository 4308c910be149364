"""What Redis itself answers about the same pairs, a shard and a router answer as well."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import hiredis
import pytest

from tests.clients.conftest import Served
from tests.support.processes import PATIENCE
from tests.support.resp import Client

KEY = "f8a24bb8-eff8-41dc-929b-10b4c3e49e05"  # its value is 1234
OTHER = "0cdfafb5-edb4-48a6-a7ec-5b1a75831f91"  # here is another value
MISSING = "00000000-0000-4000-8000-000000000000"

RANGES = ("0 -1", "-3 -1", "-100 -1", "0 -100", "-100 -50", "-100 -100", "5 100", "30 40", "3 2", "-7 -8", "0 0", "2 2")

REQUESTS = (
    *(f"{name} {key}" for name in ("TYPE", "TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME", "STRLEN", "TOUCH", "EXISTS")
      for key in (KEY, MISSING, "x")),
    *(f"{name} {key} {bounds}" for name in ("GETRANGE", "SUBSTR") for key in (OTHER, MISSING) for bounds in RANGES),
    f"GETRANGE {KEY} 0",
    f"GETRANGE {KEY} 0 x",
    f"GETRANGE {KEY} +1 2",
    f"GETRANGE {KEY} 0 9223372036854775808",
    f"TOUCH {KEY} {MISSING} {OTHER} {KEY}",
    "TOUCH",
    "TYPE",
    f"OBJECT ENCODING {KEY}",
    f"OBJECT ENCODING {OTHER}",
    f"OBJECT encoding {MISSING}",
    f"OBJECT REFCOUNT {OTHER}",
    f"OBJECT REFCOUNT {MISSING}",
    f"OBJECT FREQ {MISSING}",
    f"OBJECT IDLETIME {MISSING}",
    "OBJECT",
    "OBJECT ENCODING",
    f"OBJECT ENCODING {KEY} x",
    f"OBJECT NOSUCH {KEY}",
    f"MEMORY USAGE {MISSING}",
    f"MEMORY USAGE {MISSING} SAMPLES 5",
    f"MEMORY USAGE {KEY} SAMPLES x",
    f"MEMORY USAGE {KEY} SAMPLES",
    f"MEMORY USAGE {KEY} x 5",
    "MEMORY USAGE",
    "MEMORY NOSUCH",
    "CONFIG GET save",
    "CONFIG GET nosuch",
    "CONFIG GET maxmemory-polic? nosuch",
    "CONFIG GET appendonly",
    "CONFIG GET",
    "KEYS f8a24bb8*",
    "KEYS nothing",
    "KEYS",
    "SCAN x",
    "SCAN 99999999999999999999999",
    "SCAN 0 COUNT 0",
    "SCAN 0 COUNT x",
    "SCAN 0 MATCH",
    "SCAN 0 NOSUCH x",
    "SCAN",
    "RANDOMKEY x",
    "PING a",
    "PING a b",
    "DBSIZE",
)  # fmt: skip

PATTERNS = (
    "*", "***", "", "f*", "*f", "f8a2????-*", "f8a2???-*", "[a-c]0*", "[c-a]0*", "[^a-f]*-[^0-9]*", "*[abc", "[", "[]*",
    "[^]*", "*-4[0-9a-f]\\[0-9a-f]*", "\\f*", "*\\-4*", "*a*b*c*d*e*f*", "????????-????-4???-[89ab]???-????????????",
    "f\\*", "*\\", "[\\a-\\c]*", "*?*?*?*0", "*0*00*", "*.*", "*+*", "^f*", "f*$", "f|0*", "(f)*",
)  # fmt: skip


@pytest.fixture(params=[2, 3])
def both(request: pytest.FixtureRequest, server: Served, redis_server: Path) -> Iterator[tuple[Client, Client]]:
    """Connections to Redis and to what is tested, which speak the same protocol."""
    with ExitStack() as stack:
        to_redis = stack.enter_context(socket.socket(socket.AF_UNIX))
        to_redis.settimeout(PATIENCE)
        to_redis.connect(str(redis_server))
        tested = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE))
        clients = Client(to_redis), Client(tested)
        for client in clients:
            assert client("HELLO", request.param)
        yield clients


def shown(reply: Any) -> Any:
    """An error as its text."""
    return f"-{reply}" if isinstance(reply, hiredis.ReplyError) else reply


def test_replies_are_those_of_redis(both: tuple[Client, Client]) -> None:
    for request in REQUESTS:
        of_redis, ours = [shown(client(*request.split())) for client in both]
        assert ours == of_redis, request


def test_encodings_are_those_of_redis(both: tuple[Client, Client], example_pairs: dict[bytes, bytes]) -> None:
    told = [[client("OBJECT", "ENCODING", key) for key in list(example_pairs)[:300]] for client in both]
    assert told[0] == told[1]
    assert set(told[0]) == {b"int", b"embstr", b"raw"}


def test_patterns_fit_the_same_keys_as_in_redis(both: tuple[Client, Client]) -> None:
    for pattern in PATTERNS:
        of_redis, ours = [client("KEYS", pattern) for client in both]
        assert sorted(ours) == sorted(of_redis), pattern
        assert sorted(scanned(both[1], "MATCH", pattern, "COUNT", 1000)) == sorted(of_redis), pattern


@pytest.mark.parametrize("options", [(), ("COUNT", 37), ("COUNT", 10**9), ("TYPE", "String")])
def test_scan_tells_every_key_exactly_once(
    both: tuple[Client, Client], example_pairs: dict[bytes, bytes], options: tuple[str | int, ...]
) -> None:
    assert sorted(scanned(both[1], *options)) == sorted(example_pairs)


def test_there_are_no_keys_of_another_type(both: tuple[Client, Client]) -> None:
    assert both[1]("SCAN", 0, "TYPE", "hash") == [b"0", []]


def test_random_keys_are_keys(both: tuple[Client, Client], example_pairs: dict[bytes, bytes]) -> None:
    told = {both[1]("RANDOMKEY") for _ in range(50)}
    assert told <= set(example_pairs)
    assert len(told) > 40


def scanned(client: Client, *options: str | int) -> list[bytes]:
    found: list[bytes] = []
    cursor = b"0"
    while True:
        cursor, keys = client("SCAN", cursor, *options)
        assert int(cursor) < 1 << 53  # a number in JavaScript
        found += keys
        if cursor == b"0":
            return found
