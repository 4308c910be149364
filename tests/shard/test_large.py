"""A router is told the size of a large value, and asks for pieces of it; anybody else has it whole."""

import json
from collections.abc import Callable
from pathlib import Path

import hiredis
import pytest

from ringkv.cluster.limits import LARGE_VALUE
from ringkv.cluster.ring import build_ring
from tests.support.data import random_keys, write_pairs
from tests.support.processes import SpawnedShard, Spawner
from tests.support.resp import Client

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
    assert connect(shard)("GET", KEYS[2]) == LARGE
