"""MGET: what is asked for together is answered together, as long as the values have a size for that."""

from collections.abc import Callable

import pytest

from ringkv.cluster.limits import MAX_BATCH
from tests.support.data import random_keys, write_pairs
from tests.support.processes import SpawnedShard, Spawner
from tests.support.resp import Client

KEYS = random_keys(8, seed=33)
DIGITS = b"00000000-0000-4000-8000-000000000000"
ABSENT = random_keys(1, seed=34)[0]
PAIRS = {
    KEYS[0]: b"",
    KEYS[1]: b"x" * (MAX_BATCH // 2),
    KEYS[2]: b"y" * (MAX_BATCH // 2),
    KEYS[3]: b"z",
    KEYS[4]: b"large" * MAX_BATCH,
    DIGITS: b"digits",
}
TOO_LARGE = f"TOOLARGE the values have more than {MAX_BATCH} bytes: ask for fewer keys at once"

Connect = Callable[[SpawnedShard], Client]


@pytest.fixture(scope="module")
def shard(module_spawn: Spawner, tmp_path_factory: pytest.TempPathFactory) -> SpawnedShard:
    return module_spawn.shard(write_pairs(tmp_path_factory.mktemp("mget") / "large.data", PAIRS))


@pytest.mark.parametrize(
    "keys",
    [
        [KEYS[0]],
        [DIGITS],
        [KEYS[3], ABSENT, DIGITS, KEYS[3]],
        [KEYS[3].upper(), KEYS[0], DIGITS],
        [KEYS[0], b"", b"nonsense", KEYS[3] + b"\n" + KEYS[0], b"", KEYS[3]],
        [KEYS[0], KEYS[1], KEYS[2]],
        [KEYS[4]],
        [KEYS[4], ABSENT],
    ],
)
def test_each_key_has_its_value_or_null(shard: SpawnedShard, connect: Connect, keys: list[bytes]) -> None:
    expected = [PAIRS.get(key.lower()) for key in keys]
    assert connect(shard)("MGET", *keys) == expected


@pytest.mark.parametrize(
    "keys",
    [
        [KEYS[1], KEYS[2], KEYS[3]],
        [KEYS[3], KEYS[4]],
        [KEYS[4], KEYS[3]],
        [KEYS[4]] * 512,
        [KEYS[1].upper(), KEYS[2], KEYS[3]],
    ],
)
def test_values_that_are_too_large_together_are_refused_and_can_be_had_apart(
    shard: SpawnedShard, connect: Connect, keys: list[bytes]
) -> None:
    client = connect(shard)
    assert str(client("MGET", *keys)) == TOO_LARGE
    for key in dict.fromkeys(keys):
        assert client("MGET", key) == [PAIRS[key.lower()]]
    assert client("EXISTS", *keys) == len(keys)
