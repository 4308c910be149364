"""`python -m bench large --pairs 100M`: a dataset so large that reading all of it takes long.

generate, pack beside `sort`, start, look up beside a small dataset, lose a shard: each with its figure.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from bench.cold import drop, files, warm
from bench.data import KEY_BYTES, generate
from bench.errors import BenchmarkFailed
from bench.figures import RINGKV, Figures
from bench.pack import peak_of_this_process
from bench.processes import run
from bench.quiet import Quiet
from bench.sample import Pair, Sampler
from bench.startup import all_read, first_answer
from bench.trouble import Trouble, hang, kill, suffer
from bench.usage import PeakResident

SORT: Final = "LC_ALL=C sort --parallel=2 -S 4G"

LOOK_SECONDS: Final = 0.2
"""Between two looks at the memory of a packing that lasts minutes."""

SMALL: Final = 1_000_000
"""Pairs of the dataset that lookups are compared with, or a tenth of the large one if that is less."""

ASKED: Final = 50_000
"""Pairs that are asked for at most while a shard is lost."""

KILL: Final = "kill -9, R=1"
HANG: Final = "SIGSTOP, R=1"
HANG_2: Final = "SIGSTOP, R=2"

TROUBLES: Final[tuple[tuple[str, Trouble, int], ...]] = ((KILL, kill, 1), (HANG, hang, 1), (HANG_2, hang, 2))


@dataclass(frozen=True, slots=True)
class Large:
    """A measurement: of what, how many starts, where, and where its figures go."""

    pairs: int
    rounds: int
    work: Path
    folder: Path
    quiet: Quiet
    figures: Figures

    @property
    def dataset(self) -> Path:
        return self.work / f"{self.pairs}.dataset"

    def add(self, subject: str, quantity: str, value: float, at: int = 0) -> None:
        self.figures.add(subject, quantity, value, at or self.pairs)


def measure_large(large: Large) -> None:
    """All of it. Raises BenchmarkFailed."""
    text = generate(large.work, large.pairs)
    _pack(large, text)
    _size(large, text)
    sampler = Sampler(large.dataset)
    _start(large, sampler.any(1, seed=2)[0])
    _look_up(large)
    asked = sampler.any(ASKED, seed=3)
    for name, trouble, replicas in TROUBLES:
        large.quiet.wait()
        _lose(large, name, trouble, replicas, asked)


def _pack(large: Large, text: Path) -> None:
    """Each once, as each takes minutes; memory is looked at meanwhile, but seldom, because looking takes time."""
    large.quiet.wait()
    own = peak_of_this_process()
    with PeakResident(lambda: [os.getpid()], LOOK_SECONDS) as peak:
        seconds = run(sys.executable, "-m", "ringkv", "pack", text, large.dataset)
    large.add(RINGKV, "large pack", seconds)
    large.add(RINGKV, "large resident", peak.bytes - own)
    click.echo(f"{large.pairs:,} pairs packed in {seconds:.1f} s, {(peak.bytes - own) / 1e6:,.0f} MB resident at most")
    sorted_text = text.with_name("sorted.data")
    try:
        options = ["--parallel=2", "-S", "4G", f"--temporary-directory={large.work}", f"--output={sorted_text}"]
        seconds = run("sort", *options, text, environment={"LC_ALL": "C"})
    finally:
        sorted_text.unlink(missing_ok=True)
    large.add(SORT, "large pack", seconds)
    click.echo(f"{SORT}: {seconds:.1f} s; ratio {large.figures.ratio('large pack', RINGKV, SORT, large.pairs):.2f}")


def _size(large: Large, text: Path) -> None:
    """What a key takes in the dataset beside its value."""
    values = text.stat().st_size - large.pairs * (KEY_BYTES + 2)
    beside = (sum(path.stat().st_size for path in files(large.dataset)) - values) / large.pairs
    large.add(RINGKV, "large bytes a key", beside)
    click.echo(f"{beside:.1f} bytes a key beside its value")


def _start(large: Large, pair: Pair) -> None:
    for number in range(1, large.rounds + 1):
        large.quiet.wait()
        warm(files(large.dataset))
        _first_answer(large, number, pair, "large start warm", "all files were read before")
        _first_answer(large, number, pair, "large start cold", drop(files(large.dataset)))
        warm(files(large.dataset))
        seconds = all_read(large.dataset, large.folder)
        large.add(RINGKV, "large read", seconds)
        click.echo(f"round {number}: all read: {seconds:.2f} s; all files were read before")


def _first_answer(large: Large, number: int, pair: Pair, quantity: str, before: str) -> None:
    seconds = first_answer(large.dataset, pair, large.folder)
    large.add(RINGKV, quantity, seconds)
    click.echo(f"round {number}: first answer: {seconds:.2f} s; {before}")


def _look_up(large: Large) -> None:
    small = min(SMALL, large.pairs // 10)
    small_dataset = large.work / f"{small}.dataset"
    if not small_dataset.exists():
        run(sys.executable, "-m", "ringkv", "pack", generate(large.work, small), small_dataset)
    large.quiet.wait()
    command = [sys.executable, "-m", "bench.hot", str(small_dataset), str(large.dataset)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1800)
    if done.returncode:
        raise BenchmarkFailed(f"lookups failed: {done.stderr[-2000:]}")
    told = json.loads(done.stdout)
    for path, pairs in ((small_dataset, small), (large.dataset, large.pairs)):
        for kind, rounds in told[str(path)].items():
            for seconds in rounds:
                large.add(RINGKV, f"hot {kind}", seconds, pairs)
            median = large.figures.median(RINGKV, f"hot {kind}", pairs) or 0.0
            click.echo(f"{pairs:,} pairs: Store.get of hot keys, {kind}: {1e9 * median:,.0f} ns")


def _lose(large: Large, name: str, trouble: Trouble, replicas: int, asked: list[Pair]) -> None:
    found = suffer(large.dataset, asked, trouble, replicas=replicas, folder=large.folder)
    if found.wrong:
        raise BenchmarkFailed(f"{name}: {found.wrong} wrong answers")
    large.add(name, "lost requests", found.requests)
    large.add(name, "lost failed", found.failed)
    large.add(name, "lost longest", found.longest)
    if replicas == 1:
        large.add(RINGKV, "large anonymous", max(found.anonymous.values()))
    shards = ", ".join(f"{shard} {size / 1e6:.0f} MB" for shard, size in sorted(found.anonymous.items()))
    click.echo(
        f"{name}: {found.failed} of {found.requests:,} requests failed, longest wait {1e3 * found.longest:,.0f} ms;"
        f" anonymous memory: {shards}"
    )
