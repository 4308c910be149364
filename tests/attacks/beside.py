"""One attack, or several at once, beside a polite client: how many of its requests fail, how long they take, memory."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.usage import stolen_seconds
from ringkv.cluster.limits import MAX_VALUE
from tests.support.data import random_keys

KEYS: Final = [key.decode() for key in random_keys(26, seed=91)]
"""The first has a small value, the second the largest, the others have large ones."""

SMALL: Final = "v" * 5
LARGE: Final = "v" * 1_000_000
"""About the largest value that memcached takes by default."""

HUGE: Final = "v" * MAX_VALUE


@dataclass(frozen=True, slots=True)
class Attacked:
    """What is attacked: its ports, 0 where there is none, what the polite client speaks, and processes by their ids."""

    http: int
    redis: int
    polite: str
    processes: Mapping[str, Sequence[int]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the polite client's requests, milliseconds, and the most bytes that were taken, by process.

    `stolen` are milliseconds of processors that the machine's host took for others meanwhile.
    """

    requests: int
    failures: int
    first: list[str]
    p50: float
    p99: float
    longest: float
    stolen: float
    memory: dict[str, int]


def value_of(key: str) -> str:
    return {KEYS[0]: SMALL, KEYS[1]: HUGE}.get(key, LARGE)


def anonymous(pids: Sequence[int]) -> int:
    """Bytes of these processes that no file has."""
    return sum(_anonymous(pid) for pid in pids)


def _anonymous(pid: int) -> int:
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(fields.get("RssAnon", "0").split()[0]) << 10  # one that has ended has no memory


def beside(attacked: Attacked, attacks: Sequence[str], seconds: float) -> Outcome:
    """Attack for as long as the polite client asks."""
    port = attacked.http if attacked.polite == "http" else attacked.redis
    most = dict.fromkeys(attacked.processes, 0)
    with ExitStack() as running:
        for name in attacks:
            attacker = _run(running, "tests.attacks.attacks", name, attacked.http, attacked.redis, *KEYS)
            _place(attacker.pid, 19)
        polite = _run(running, "tests.attacks.polite", attacked.polite, port, KEYS[0], SMALL, seconds)
        _place(polite.pid, -20)
        before = stolen_seconds()
        while polite.poll() is None:
            most = {name: max(most[name], anonymous(pids)) for name, pids in attacked.processes.items()}
            time.sleep(0.03)
        stolen = 1000 * (stolen_seconds() - before)
        return Outcome(**json.loads(polite.communicate()[0]), stolen=stolen, memory=most)


def _place(pid: int, nice: int) -> None:
    """Place a process among all that share the machine here, as if it had one of its own.

    Attackers get of the processors what whom they attack leaves. The polite client, whose clock counts, never waits for
    a processor because of what is done to others, if whoever runs this may ask for that. Linux shares processors among
    sessions first, and within each by what `nice` says.
    """
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, pid, nice)
    with suppress(FileNotFoundError, PermissionError):
        Path(f"/proc/{pid}/autogroup").write_text(str(nice))


def _run(running: ExitStack, module: str, *args: str | float) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", module, *map(str, args)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    running.enter_context(process)
    running.callback(process.kill)
    return process
