"""`python -m bench disk DATASET`: what one shard does when the data is on the disk, beside the disk and others.

cold      each key in a block that nobody has read; meanwhile a few hot keys, on a connection of their own
in memory the same keys once more
mixed     keys by Zipf's law from the whole dataset, in a control group that has memory for a quarter of it
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from bench import extstore, fio, rocks
from bench.cgroup import CannotLimit, MemoryGroup
from bench.cold import drop, files
from bench.exchanges import Asked, ask, asking_meanwhile, gets, mgets
from bench.figures import RINGKV, Figures
from bench.peers.peer import program_path
from bench.processes import Processes
from bench.quiet import Quiet
from bench.sample import Pair, Sampler

CONNECTIONS: Final = 32
HOT: Final = 16
BATCH: Final = 100
BATCHES: Final = 50

COLD: Final = 250_000
"""Keys that are asked for once at most: more than any disk gives in some seconds, if the dataset has as many blocks."""

DRAWN: Final = 200_000
"""Draws by Zipf's law, but not more than a quarter of the keys; the first half fills the memory, the second is
measured."""

WARM_SECONDS: Final = 30.0
"""That the first half may take, at most."""

PROCESS: Final = 128 << 20
"""Bytes of memory beside a quarter of the dataset: what a process has for itself, as Python with its libraries does."""

COPIES: Final = "blocks are read as copies"
"""What a shard logs that has less memory than data."""


@dataclass(frozen=True, slots=True)
class Disk:
    """A measurement: of what, how often and how long, and where its figures go.

    `folder` is for sockets and logs, `store` for what others keep on the same disk as the dataset.
    """

    sampler: Sampler
    rounds: int
    seconds: float
    folder: Path
    store: Path
    quiet: Quiet
    figures: Figures

    def add(self, subject: str, quantity: str, value: float) -> None:
        self.figures.add(subject, quantity, value, self.sampler.keys)

    def leave_out(self, subject: str, reason: str) -> None:
        click.secho(f"{subject}: not measured: {reason}", fg="red")
        self.figures.notes[f"{subject}: not measured"] = reason

    def miss(self, subject: str, package: str) -> None:
        """Leave a subject out, as its package is not installed."""
        click.secho(f"{subject}: not measured, because it is not installed ({package})", fg="red")
        self.figures.missing[subject] = [package]

    def drop(self) -> str:
        return drop(files(self.sampler.path))


def measure_disk(disk: Disk) -> None:
    """All of it. Raises BenchmarkFailed."""
    sampler = disk.sampler
    block, size = fio.block_size(sampler), sum(path.stat().st_size for path, _, _ in sampler.segments)
    click.echo(f"{sampler.path}: {sampler.keys:,} keys, {size / 1e6:,.0f} MB, blocks of {block:,} bytes on the disk")
    if program_path(fio.FIO) is None:
        disk.miss(fio.FIO, fio.PACKAGE)
    for number in range(1, disk.rounds + 1):
        disk.quiet.wait()
        _from_disk(disk, number)
        if program_path(fio.FIO) is not None:
            disk.add(fio.FIO, "cold rate", rate := fio.read_randomly(sampler, disk.seconds))
            click.echo(f"round {number}: fio: {rate:,.0f} reads/s of {block:,} bytes by {fio.JOBS} threads")
    if (ratio := disk.figures.ratio("cold rate", RINGKV, fio.FIO, sampler.keys)) is not None:
        click.secho(f"ringkv / fio: {ratio:.2f}", bold=True)
    _short_of_memory(disk)
    _extstore(disk)


def _from_disk(disk: Disk, number: int) -> None:
    """Ask a shard that has read nothing yet for cold keys, and hot ones meanwhile; then for batches; then again."""
    pairs = disk.sampler.one_a_block(COLD, seed=number)
    hot = pairs[:HOT]
    batched = min(len(pairs) // 10, BATCHES * BATCH) if disk.sampler.block_bytes < 1 << 20 else 0
    batches, cold = mgets(pairs[HOT : HOT + batched], BATCH), gets(pairs[HOT + batched :])
    with Processes(disk.folder / "shard") as processes:
        path = _start_shard(disk.sampler, processes)
        click.echo(f"round {number}: {disk.drop()}")
        ask(path, gets(hot), connections=1, seconds=disk.seconds)
        with asking_meanwhile(path, gets(hot)) as beside:
            found = ask(path, cold, connections=CONNECTIONS, seconds=disk.seconds)
        _keep(disk, number, RINGKV, "cold", found)
        _keep(disk, number, RINGKV, "hot", beside)
        disk.add(f"disk, {CONNECTIONS} connections", "from disk", 1 / found.rate)
        if batches:
            disk.drop()
            _keep(disk, number, RINGKV, "batch", ask(path, batches, connections=1, seconds=disk.seconds))
        warm = cold[: len(found.times)]
        ask(path, warm, connections=CONNECTIONS, seconds=WARM_SECONDS)
        _keep(disk, number, RINGKV, "memory", ask(path, warm, connections=CONNECTIONS, seconds=disk.seconds))


def _short_of_memory(disk: Disk) -> None:
    """Measure ringkv and RocksDB in turn, each with a quarter of the memory that its data would take."""
    limit = disk.sampler.bytes // 4 + PROCESS
    with_rocks = rocks.installed()
    if not with_rocks:
        disk.miss(rocks.ROCKSDB, f"{rocks.PACKAGE}, of PyPI")
    try:
        with MemoryGroup(limit) as group:
            click.echo(f"mixed: control group of version {group.version}, {limit >> 20:,} MiB")
            database = disk.store / "rocksdb"
            if with_rocks:
                rocks.fill(disk.sampler, database)
            for number in range(1, disk.rounds + 1):
                drawn = disk.sampler.skewed(min(DRAWN, disk.sampler.keys // 4), seed=number)
                disk.quiet.wait()
                _mixed(disk, number, drawn, group)
                for threads in (1, CONNECTIONS) if with_rocks else ():
                    subject = rocks.ROCKSDB if threads == 1 else f"{rocks.ROCKSDB}, {threads} threads"
                    rate = rocks.look_up(database, drawn, group.prefix, threads=threads, seconds=disk.seconds)
                    disk.add(subject, "mixed rate", rate)
                    click.echo(f"round {number}: {subject}, mixed, in-process: {rate:,.0f}/s")
    except CannotLimit as reason:
        disk.leave_out("mixed, in a quarter of the memory", str(reason))


def _mixed(disk: Disk, number: int, drawn: list[Pair], group: MemoryGroup) -> None:
    exchanges, half = gets(drawn), len(drawn) // 2
    disk.drop()  # what is in memory already is charged to somebody else
    with Processes(disk.folder / "mixed") as processes:
        path = _start_shard(disk.sampler, processes, *group.prefix)
        ask(path, exchanges[:half], connections=CONNECTIONS, seconds=WARM_SECONDS)
        found = ask(path, exchanges[half:], connections=CONNECTIONS, seconds=disk.seconds)
        _keep(disk, number, RINGKV, "mixed", found)
        how = "as copies" if COPIES in (processes.folder / "shard.log").read_text() else "where they are mapped"
    click.echo(f"round {number}: blocks were read {how}")
    disk.figures.notes["mixed: blocks were read"] = how


def _extstore(disk: Disk) -> None:
    if program_path(extstore.MEMCACHED) is None:
        disk.miss(extstore.EXTSTORE, extstore.MEMCACHED)
        return
    if reason := extstore.cannot(disk.sampler):
        disk.leave_out(extstore.EXTSTORE, reason)
        return
    with Processes(disk.folder / "extstore") as processes:
        path = extstore.start(disk.sampler, processes, disk.store)
        for number in range(1, disk.rounds + 1):
            disk.quiet.wait()
            cold = extstore.exchanges(disk.sampler.any(COLD, seed=number))
            drop(files(disk.store))
            before = extstore.read_from_file(path)
            found = ask(path, cold, connections=CONNECTIONS, seconds=disk.seconds)
            _keep(disk, number, extstore.EXTSTORE, "cold", found)
            share = (extstore.read_from_file(path) - before) / len(found.times)
            disk.add(extstore.EXTSTORE, "from its file", share)
            click.echo(f"round {number}: {extstore.EXTSTORE}: {share:.0%} of the values were in its file")


def _start_shard(sampler: Sampler, processes: Processes, *prefix: str) -> Path:
    """The socket of a shard that reads nothing before it is asked for."""
    path = processes.folder.resolve() / "shard.sock"
    command = [*prefix, sys.executable, "-m", "ringkv", "shard", str(sampler.path), "--listen", f"unix:{path}"]
    processes.start("shard", *command, "--warm-rate", "0")
    processes.wait_for_socket(path)
    return path


def _keep(disk: Disk, number: int, subject: str, quantity: str, found: Asked) -> None:
    for name, value in (("rate", found.rate), ("p50", found.percentile(50)), ("p99", found.percentile(99))):
        disk.add(subject, f"{quantity} {name}", value)
    click.echo(
        f"round {number}: {subject}, {quantity}: {len(found.times):,} requests, {found.rate:,.0f}/s,"
        f" p50 {1e3 * found.percentile(50):.2f} ms, p99 {1e3 * found.percentile(99):.2f} ms"
    )
