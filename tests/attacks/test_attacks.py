"""Each attack, and all at once, beside a polite client: none of its requests fails, and memory stays in its budget.

make attacks SECONDS=20         tells the polite client's p99 too, which is a matter of the machine
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from tests.attacks.attacks import ATTACKS
from tests.support.data import random_keys
from tests.support.processes import Spawned, Spawner

MEMORY: Final = 512 << 20
SECONDS: Final = os.environ.get("SECONDS_EACH", "4")
KEYS: Final = [key.decode() for key in random_keys(500, seed=91)]
LARGE: Final = 24
"""The first keys but one have values of 8 MiB, and the first of these 64 MiB."""

pytestmark = pytest.mark.attacks


@dataclass(frozen=True, slots=True)
class Attacked:
    http: int
    redis: int
    keys: Path
    processes: Sequence[Spawned]


def size_of(number: int) -> int:
    return 5 if number == 0 or number > LARGE else 64 << 20 if number == 1 else 8 << 20


@pytest.fixture(scope="module")
def attacked(module_spawn: Spawner, tmp_path_factory: pytest.TempPathFactory) -> Attacked:
    folder = tmp_path_factory.mktemp("attacks")
    data, keys = folder / "large.data", folder / "keys"
    with data.open("wb") as file:
        for number, key in enumerate(KEYS):
            file.write(b"%b %b\n" % (key.encode(), b"v" * size_of(number)))
    keys.write_text("\n".join(KEYS[: LARGE + 1]))
    memory = ("--memory", str(MEMORY))
    shards = [module_spawn.shard(data, "--leased", "--name", name, *memory) for name in ("a", "b")]
    addresses = ",".join(str(shard.address) for shard in shards)
    ports = ("--listen", "127.0.0.1:0", "--redis-listen", "127.0.0.1:0")
    router = module_spawn("router", "--shards", addresses, *ports, *memory)
    http = int(router.wait_for_line(r"listens on 127\.0\.0\.1:(\d+)")[1])
    redis = int(router.wait_for_line(r"speaks Redis on 127\.0\.0\.1:(\d+)")[1])
    router.wait_for_line(r"topology \d+ in .* 2 shards")
    return Attacked(http, redis, keys, [router, *(shard.spawned for shard in shards)])


def anonymous(spawned: Spawned) -> int:
    """Bytes of the process that no file has."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{spawned.pid}/status").read_text().splitlines())
    return int(fields["RssAnon"].split()[0]) << 10


def run(module: str, *args: str | int | Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-m", module, *map(str, args)], stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("names", [*([name] for name in ATTACKS), list(ATTACKS)], ids=[*ATTACKS, "all"])
def test_a_polite_client_is_served_and_memory_stays_in_its_budget(attacked: Attacked, names: list[str]) -> None:
    where = ("127.0.0.1", attacked.http)
    most = [0] * len(attacked.processes)
    with ExitStack() as running:
        for name in names:
            attacker = run("tests.attacks.attacks", name, *where, attacked.redis, attacked.keys)
            running.callback(attacker.wait)
            running.callback(attacker.kill)
        polite = run("tests.attacks.polite", "http", *where, KEYS[0], "v" * 5, SECONDS)
        running.callback(polite.kill)
        while polite.poll() is None:
            most = [max(before, anonymous(process)) for before, process in zip(most, attacked.processes, strict=True)]
            time.sleep(0.03)
        told: dict[str, Any] = json.loads(polite.communicate()[0])
    mib = [size >> 20 for size in most]
    print(f"{' '.join(names)}: {told['failures']} failures, p99 {told['p99']:.1f} ms; router, shards: {mib} MiB")  # noqa: T201
    assert told["failures"] == 0, told
    assert max(most) <= MEMORY * 1.1
