"""One measurement: a client asks for drawn keys for some seconds, while the kernel counts what that costs."""

import json
import resource
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from bench.errors import BenchmarkFailed
from bench.usage import busy_seconds, cpu_seconds

SCRIPT: Final = Path(__file__).with_name("load.lua")

Draw = Literal["even", "zipf", "one"]
"""How keys are drawn: evenly, by Zipf's law with exponent 0.99, or one and the same again and again."""

KEPT: Final = ("rate", "p50", "p99", "p999", "cpu", "others", "failed")
"""The measured quantities that reports tell."""

PATIENCE: Final = 60.0
"""Seconds that a client may take longer than it was asked to."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a peer answers: GET `prefix + key + suffix` on a port of the loopback interface.

    `exact` says that the answer is the key's value: one peer, the floor, has the same answer for all.
    """

    port: int
    prefix: str = "/"
    suffix: str = ""
    exact: bool = True
    scheme: str = "http"

    def path(self, key: str) -> str:
        return f"{self.prefix}{key}{self.suffix}"


@dataclass(frozen=True, slots=True)
class Measured:
    """Seconds, but for `rate` (requests a second) and `others`.

    `cpu` is what all processes of the server used for a request; `others` is the part of the machine that went
    to neither the server nor wrk meanwhile.
    """

    connections: int
    requests: int
    rate: float
    p50: float
    p99: float
    p999: float
    cpu: float
    others: float
    failed: int

    def __str__(self) -> str:
        waits = "  ".join(
            f"{name} {1e3 * seconds:7.3f}"
            for name, seconds in (("p50", self.p50), ("p99", self.p99), ("p99.9", self.p999))
        )
        return f"{self.rate:9,.0f}/s  {waits} ms  {1e6 * self.cpu:6.2f} µs CPU  others {self.others:.2f}" + (
            f"  FAILED {self.failed}" if self.failed else ""
        )


def installed() -> bool:
    return shutil.which("wrk") is not None


def measure(  # noqa: PLR0913 - where, what, how many, how long, of whom, the seed, and which
    endpoint: Endpoint,
    keys: Path,
    *,
    connections: int,
    seconds: float,
    pids: Callable[[], list[int]],
    seed: int = 1,
    draw: Draw = "even",
) -> Measured:
    """Load the endpoint with wrk. Raises BenchmarkFailed when nothing comes back."""
    # One thread for every peer: on two processors a second one would take what the server needs.
    command = ["wrk", "--threads", "1", "--connections", str(connections), "--duration", f"{max(1, round(seconds))}s"]
    command += ["--timeout", "10s", "--script", str(SCRIPT), f"{endpoint.scheme}://127.0.0.1:{endpoint.port}/"]
    command += ["--", str(keys), endpoint.prefix, endpoint.suffix, str(seed), draw]
    return measure_with(command, connections=connections, seconds=seconds, pids=pids)


def measure_with(
    command: Sequence[str], *, connections: int, seconds: float, pids: Callable[[], list[int]]
) -> Measured:
    """Let a client load the servers `pids`; its last line is what load.lua's is. Raises BenchmarkFailed."""
    watched = pids()
    load, server, machine, clock = _children_seconds(), cpu_seconds(watched), busy_seconds(), time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + PATIENCE, check=False)
    clock, machine = time.monotonic() - clock, busy_seconds() - machine
    server, load = cpu_seconds(watched) - server, _children_seconds() - load
    if done.returncode != 0 or not done.stdout.rstrip().endswith("}"):
        raise BenchmarkFailed(f"{' '.join(command)} failed: {done.stdout}{done.stderr}")
    told: dict[str, Any] = json.loads(done.stdout.rstrip().rpartition("\n")[2])
    if not told["requests"]:
        raise BenchmarkFailed(f"nothing came back: {' '.join(command)}: {done.stdout}")
    return Measured(
        connections=connections,
        requests=told["requests"],
        rate=told["requests"] / told["seconds"],
        p50=told["p50"],
        p99=told["p99"],
        p999=told["p999"],
        cpu=server / told["requests"],
        others=max(0.0, machine - server - load) / clock,
        failed=told["status"] + told["broken"],
    )


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
