"""A router is told the size of a large value, and asks for pieces of it; anybody else has it whole."""

import json
from collections.abc import Callable
from pathlib import Path

import hiredis
import pytest

from ringkv.cluster.limits import LARGE_VALUE
from ringkv.cluster.ring import build_ring
from tests.attacks.beside import anonymous
from tests.support.data import random_keys, write_pairs
from tests.support.processes import SpawnedShard, Spawner, wait_for
from tests.support.resp import Client, command

KEYS = random_keys(300, seed=41)
ABSENT = random_keys(1, seed=42)[0]
LARGE = b"0123456789" * 100_000
VALUES = {key: b"small %d" % number for number, key in enumerate(KEYS)} | {
    KEYS[0]: b"x" * LARGE_VALUE,
    KEYS[1]: b"y" * (LARGE_VALUE + 1),
    KEYS[2]: LARGE,
    KEYS[3]: b"",
}

Connect = Callable[[SpawnedShard], Client]


@pytest.fixture
def shard(spawn: Spawner, tmp_path: Path) -> SpawnedShard:
    return spawn.shard(write_pairs(tmp_path / "large.data", VALUES), "--leased", "--name", "a")


@pytest.fixture
def router(shard: SpawnedShard, connect: Connect) -> Client:
    client = connect(shard)
    about = client.info()
    client.lease(about["dataset_id"], build_ring(("a",), 1, int(about["partitions"])))
    return client


def test_a_router_is_told_the_size_of_a_large_value_and_asks_for_pieces(router: Client) -> None:
    for _ in range(2):  # the first read of a block is another one
        for key in KEYS:
            told = router("GET", key)
            if len(VALUES[key]) <= LARGE_VALUE:
                assert told == VALUES[key]
            else:
                assert isinstance(told, hiredis.ReplyError)
                assert str(told) == f"LARGE {len(VALUES[key])}"
    whole = [router("PIECE", KEYS[2], at, at + LARGE_VALUE) for at in range(0, len(LARGE), LARGE_VALUE)]
    assert b"".join(whole) == LARGE
    assert router("PIECE", KEYS[2], 7, 9) == LARGE[7:9]
    assert router("PIECE", KEYS[2], 10**9, 10**9 + 1) == b""
    assert router("PIECE", ABSENT, 0, 10) is None
    assert str(router("MGET", KEYS[4], KEYS[2])) == f"LARGE {len(LARGE)}"
    assert router("EXISTS", KEYS[2], KEYS[4], ABSENT, KEYS[1]) == 3
    explained = json.loads(router("EXPLAIN", KEYS[2]))
    assert (explained["found"], explained["size"], explained["refusal"]) == (True, len(LARGE), None)


@pytest.mark.parametrize("args", [(-1, 5), (5, 4), (0, LARGE_VALUE + 1), ("x", 5)])
def test_a_piece_that_is_none_is_refused(router: Client, args: tuple[object, object]) -> None:
    reply = router("PIECE", KEYS[2], *map(str, args))
    assert isinstance(reply, hiredis.ReplyError)
    assert str(reply).startswith("ERR ")


def test_others_have_large_values_whole_also_while_a_router_has_a_lease(
    shard: SpawnedShard, router: Client, connect: Connect
) -> None:
    assert str(router("GET", KEYS[2])).startswith("LARGE")
    client = connect(shard)
    client.send(b"".join(command("GET", key) for key in (*KEYS[:5], KEYS[2].upper(), ABSENT)) + command("PING"))
    assert [client.read() for _ in range(8)] == [*(VALUES[key] for key in KEYS[:5]), LARGE, None, b"PONG"]
    assert client("MGET", *KEYS[:5]) == [VALUES[key] for key in KEYS[:5]]
    assert (client("STRLEN", KEYS[2]), client("GETRANGE", KEYS[2], 7, 8)) == (len(LARGE), LARGE[7:9])
    client.send(command("MULTI") + command("GET", KEYS[2]) + command("GET", KEYS[4]) + command("EXEC"))
    assert [client.read() for _ in range(4)][-1] == [LARGE, VALUES[KEYS[4]]]
    client.send(command("CLIENT", "REPLY", "SKIP") + command("GET", KEYS[2]) + command("PING"))
    assert client.read() == b"PONG"


def test_clients_who_do_not_read_large_values_hold_no_more_than_there_is_memory_for(
    spawn: Spawner, tmp_path: Path, connect: Connect
) -> None:
    memory, value = 256 << 20, b"v" * (48 << 20)
    shard = spawn.shard(write_pairs(tmp_path / "huge.data", {KEYS[0]: value}), "--memory", str(memory))
    unread = [connect(shard) for _ in range(8)]
    for client in unread:
        client.send(command("GET", KEYS[0]) * 32)
    reading = connect(shard)
    # Who does not read is let go after two seconds, one after the other; until then there is no memory for others.
    assert wait_for(lambda: reading("GET", KEYS[0]) == value, pause=0)
    assert anonymous([shard.spawned.pid]) <= 1.1 * memory
