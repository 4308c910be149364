"""All attacks, each by itself and all at once, as rows of Markdown.

python -m tests.attacks SECONDS         for so long each; minutes
"""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from tests.attacks.attacks import ATTACKS
from tests.attacks.beside import KEYS, Attacked, Outcome, anonymous, beside, value_of
from tests.support.processes import Spawner

MEMORY: Final = "256M"


def ringkv(spawn: Spawner) -> Attacked:
    data = spawn.directory() / "pairs.data"
    data.write_text("".join(f"{key} {value_of(key)}\n" for key in KEYS))
    shard = spawn.shard(data, "--leased", "--name", "a", "--memory", MEMORY)
    ports = ("--listen", "127.0.0.1:0", "--redis-listen", "127.0.0.1:0")
    router = spawn("router", "--shards", str(shard.address), *ports, "--memory", MEMORY)
    http = int(router.wait_for_line(r"listens on 127\.0\.0\.1:(\d+)")[1])
    redis = int(router.wait_for_line(r"speaks Redis on 127\.0\.0\.1:(\d+)")[1])
    router.wait_for_line(r"topology \d+ in .* 1 shard")
    return Attacked(http, redis, "http", {"router": [router.pid], "shard": [shard.spawned.pid]})


def row(attacks: list[str], outcome: Outcome, start: dict[str, int]) -> str:
    name = attacks[0] if len(attacks) == 1 else "all at once"
    memory = ", ".join(f"{process} {start[process] >> 20} → {most >> 20}" for process, most in outcome.memory.items())
    return f"| {name} | {outcome.failures} of {outcome.requests} | {outcome.p50:.1f} | {outcome.p99:.1f} | {memory} |"


@contextmanager
def started() -> Iterator[Attacked]:
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        spawner = Spawner(Path(folder))
        stack.callback(spawner.close)
        yield ringkv(spawner)


def main(seconds: float) -> None:
    sys.stdout.write("| attack | failures | p50 ms | p99 ms | memory, MiB |\n|---|---|---|---|---|\n")
    for attacks in [*([name] for name in ATTACKS), list(ATTACKS)]:
        with started() as attacked:
            before = {name: anonymous(pids) for name, pids in attacked.processes.items()}
            sys.stdout.write(row(attacks, beside(attacked, attacks, seconds), before) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(float(sys.argv[1]))
