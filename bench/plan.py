"""`python -m bench plan`: what `ringkv plan` foretells of some data, and what these then take on this machine.

in rounds, for each size: plan --here, pack, plan --here, start, read; then for each: three shards, and a fourth
"""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from itertools import product
from pathlib import Path
from typing import Any, Final

import click
from redis import Redis

from bench.data import generate
from bench.errors import BenchmarkFailed
from bench.figures import Figures
from bench.large import Large
from bench.processes import Processes, free_port
from bench.remote import Cluster
from bench.sample import Pair, Sampler
from bench.startup import answers
from bench.usage import resident, tree_seconds
from ringkv.cluster.lease import Heartbeat
from ringkv.yardstick import reading_seconds

FORETOLD: Final = "foretold"
MEASURED: Final = "measured"

SHARDS: Final = 2
"""Of the clusters that are started: a plan is for shards with a core each."""

LOOK: Final = 0.02
PATIENCE: Final = 300.0

QUANTITIES: Final[dict[str, tuple[str, float, str]]] = {
    "dataset": ("dataset", 1e-6, "MB"),
    "packing": ("packing, of one core", 1, "s"),
    "start": ("start to the first answer", 1, "s"),
    "warm": (f"start until {SHARDS} shards have read all", 1, "s"),
    "reading": ("reading all, of one core", 1, "s"),
    "part": ("the largest of 3 shards holds", 1e-6, "MB"),
    "memory": ("and takes of memory", 1e-6, "MB"),
    "moved": ("keys that a fourth takes over", 1e-3, "thousand"),
}
"""What is foretold: its text, and the unit that it is shown in."""


class Planned(Large):
    """A measurement whose figures are pairs: what is foretold, and what is measured."""

    __slots__ = ()

    def foretold(self, **amounts: float) -> None:
        for quantity, amount in amounts.items():
            self.add(FORETOLD, quantity, amount)

    def measured(self, **amounts: float) -> None:
        for quantity, amount in amounts.items():
            self.add(MEASURED, quantity, amount)
            click.echo(f"{self.pairs:,} pairs: {_told(quantity, amount)}")


def measure_plan(planned: Sequence[Planned]) -> None:
    """All of it, the sizes in turn. Raises BenchmarkFailed."""
    texts = {each.pairs: generate(each.work, each.pairs) for each in planned}
    samples: dict[int, Pair] = {}
    for number, each in product(range(planned[0].rounds), planned):
        each.quiet.wait()
        # Packing takes minutes, in which others may make the machine another one: it is foretold before and after.
        each.foretold(packing=_here(each)["packing_core_seconds"])
        each.measured(packing=_packing_seconds(texts[each.pairs], each.dataset))
        sizing = _here(each)
        click.echo(f"round {number + 1}: {sizing['machine']}")
        each.foretold(packing=sizing["packing_core_seconds"], start=sizing["start"], warm=sizing["warm"])
        each.foretold(reading=sizing["warm_core_seconds"] * sizing["dataset"] / sizing["part"])
        if number == 0:
            samples[each.pairs] = Sampler(each.dataset).any(1, seed=2)[0]
            each.foretold(dataset=sizing["dataset"])
            each.measured(dataset=sum(path.stat().st_size for path in each.dataset.iterdir()))
        _start(each, samples[each.pairs])
        each.measured(reading=reading_seconds(each.dataset))
    for each in planned:
        _grow(each)


def foretold_and_measured(figures: Figures) -> list[Sequence[str]]:
    """What `python -m bench plan` has measured; the first row is the heading."""
    rows: list[Sequence[str]] = [("what", "pairs", "foretold", "measured", "apart")]
    for quantity, (text, scale, unit) in QUANTITIES.items():
        for at in figures.points(MEASURED, quantity):
            shown = (figures.median(subject, quantity, at) or 0.0 for subject in (FORETOLD, MEASURED))
            cells = (f"{scale * amount:,.4g} {unit}" for amount in shown)
            rows.append((text, f"{at:,}", *cells, f"{_apart(figures, quantity, at):.1%}"))
    return rows


def furthest(figures: Figures) -> float | None:
    """The part by which a foretold amount is beside the measured one, at most; None if nothing was measured."""
    places = [(quantity, at) for quantity in QUANTITIES for at in figures.points(MEASURED, quantity)]
    return max((_apart(figures, *place) for place in places), default=None)


def _apart(figures: Figures, quantity: str, at: int) -> float:
    return abs((figures.ratio(quantity, FORETOLD, MEASURED, at) or 0.0) - 1)


def _told(quantity: str, amount: float) -> str:
    text, scale, unit = QUANTITIES[quantity]
    return f"{text}: {scale * amount:,.4g} {unit}"


def _here(planned: Planned) -> Any:
    """What is foretold for this machine, as it is now."""
    return _plan(planned, "--shards", str(SHARDS), "--here")["sizing"]


def _plan(planned: Planned, *options: str) -> Any:
    command = [sys.executable, "-m", "ringkv", "plan", "--json", "--pairs", str(planned.pairs), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchmarkFailed(f"ringkv plan: {done.stderr}")
    return json.loads(done.stdout)


def _packing_seconds(text: Path, out: Path) -> float:
    """Processor time of `ringkv pack` and all of its processes, until shortly before its end."""
    used = 0.0
    with subprocess.Popen([sys.executable, "-m", "ringkv", "pack", text, out]) as process:
        while process.poll() is None:
            used = max(used, tree_seconds(process.pid))
            time.sleep(LOOK)
    if process.returncode:
        raise BenchmarkFailed(f"ringkv pack has failed with code {process.returncode}")
    return used


def _start(planned: Planned, pair: Pair) -> None:
    """Of `ringkv up`: its first answer, and when its shards say that they have read all that they hold."""
    port = free_port()
    with Processes(planned.folder / "up") as processes:
        options = ("--shards", str(SHARDS), "--port", str(port))
        began = time.perf_counter()
        command = (sys.executable, "-m", "ringkv", "up", planned.dataset, *options)
        processes.start("up", *command, environment={"TMPDIR": str(processes.folder)})
        processes.wait_for(lambda: answers(port, pair), "ringkv up did not answer")
        planned.measured(start=time.perf_counter() - began)
        _wait_until_read([str(path) for path in processes.folder.glob("ringkv-*/shard-*.sock")])
        planned.measured(warm=time.perf_counter() - began)


def _wait_until_read(sockets: Sequence[str]) -> None:
    """Until these shards have read all that they are leased. As a router asks: a shard that others ask reads slowly."""
    until = time.monotonic() + PATIENCE
    with ExitStack() as stack:
        shards = [stack.enter_context(Redis(unix_socket_path=path)) for path in sockets]
        leased = [int(shard.info("shard")["leased_bytes"]) for shard in shards]
        while leased != [Heartbeat.parse(shard.execute_command("HEARTBEAT")).checked for shard in shards]:
            if time.monotonic() > until:
                raise BenchmarkFailed(f"shards have not read all that they hold within {PATIENCE:.0f} s")
            time.sleep(LOOK)


def _grow(planned: Planned) -> None:
    """Three shards on their own, as on machines of theirs, until they have read all; and what a fourth takes over."""
    plan = _plan(planned, "--shards", "4..3")
    (fourth,) = (load["keys"] for load in plan["rings"][0]["loads"] if load["name"] == "shard-4")
    planned.foretold(part=plan["sizing"]["part"], memory=plan["sizing"]["memory"], moved=fourth)
    with Processes(planned.folder / "s") as processes:
        cluster = Cluster(processes, planned.dataset, planned.folder / "caches")
        cluster.wait_until_warm()
        planned.measured(
            part=max(cluster.told(number).bytes for number in range(3)),
            memory=max(resident(pid) for pid in processes.roots()),
        )
        cluster.start(3)
        processes.wait_for(lambda: _leased(cluster) == planned.pairs, "a fourth shard did not take over its keys")
        planned.measured(moved=cluster.told(3).keys)


def _leased(cluster: Cluster) -> int:
    """Keys that four shards have leased, those on their way twice; 0 before the fourth has some."""
    with suppress(OSError, BenchmarkFailed):  # before it listens
        leased = [cluster.told(number).keys for number in range(4)]
        return sum(leased) if leased[3] else 0
    return 0
