"""Attacks beside a polite client: none of its requests fails, and memory stays in its budget. `make attacks`: all."""

from typing import Final

import pytest

from tests.attacks.beside import KEYS, Attacked, beside, value_of
from tests.support.processes import Spawner

MEMORY: Final = 256 << 20
SECONDS: Final = 2.0


@pytest.fixture(scope="module")
def attacked(module_spawn: Spawner) -> Attacked:
    data = module_spawn.directory() / "pairs.data"
    data.write_text("".join(f"{key} {value_of(key)}\n" for key in KEYS))
    memory = ("--memory", str(MEMORY))
    shard = module_spawn.shard(data, "--leased", "--name", "a", *memory)
    ports = ("--listen", "127.0.0.1:0", "--redis-listen", "127.0.0.1:0")
    router = module_spawn("router", "--shards", str(shard.address), *ports, *memory)
    http = int(router.wait_for_line(r"listens on 127\.0\.0\.1:(\d+)")[1])
    redis = int(router.wait_for_line(r"speaks Redis on 127\.0\.0\.1:(\d+)")[1])
    router.wait_for_line(r"topology \d+ in .* 1 shard")
    return Attacked(http, redis, "http", {"router": [router.pid], "shard": [shard.spawned.pid]})


@pytest.mark.parametrize("attack", ["small", "halves", "slow", "idle", "counts", "nonsense"])
def test_a_polite_client_is_served_and_memory_stays_in_its_budget(attacked: Attacked, attack: str) -> None:
    outcome = beside(attacked, [attack], SECONDS)
    assert outcome.failures == 0, outcome
    assert max(outcome.memory.values()) <= MEMORY * 1.1, outcome
