"""Packing: against `sort` of the same file, against loading Redis, and ten times as much of it."""

import os
import shutil
import sys
from pathlib import Path
from typing import Final

import click

from bench.data import Data
from bench.figures import RINGKV, Figures
from bench.peers import redis
from bench.peers.peer import program_path
from bench.processes import Processes, run
from bench.quiet import Quiet
from bench.usage import PeakResident

SORT: Final = "LC_ALL=C sort"
REDIS: Final = "redis-cli --pipe"
LARGE_ROUNDS: Final = 3


def pack(data: Data, rounds: int, folder: Path, quiet: Quiet, figures: Figures) -> None:
    """Interleaved; all read what is in the page cache, and write to the same directory."""
    with_redis = all(map(program_path, redis.WebdisRedis.needs.keys() - {"webdis"}))
    if not with_redis:
        figures.missing[REDIS] = ["redis-server", "redis-tools"]
    with Processes(folder / "pack") as processes:
        path = redis.start_redis(processes) if with_redis else None
        commands = redis.as_resp(data) if with_redis else None
        for number in range(rounds):
            quiet.wait()
            ways = {RINGKV: pack_once(data), SORT: _sort(data)}
            if path is not None and commands is not None:
                redis.ask(path, "FLUSHALL", "SYNC")
                ways[REDIS] = redis.fill(path, commands, data.pairs)
            for way, seconds in ways.items():
                figures.add(way, "pack", seconds, data.pairs)
            click.echo(f"round {number + 1}: " + ", ".join(f"{way} {took:.2f} s" for way, took in ways.items()))


def pack_large(small: Data, large: Data, quiet: Quiet, figures: Figures) -> None:
    """How time grows with the size of the file, and how much memory that takes."""
    for number in range(LARGE_ROUNDS):
        for data in (small, large):
            quiet.wait()
            seconds = pack_once(data)
            figures.add(RINGKV, "pack growth", seconds, data.pairs)
            click.echo(f"round {number + 1}: {data.pairs:,} pairs packed in {seconds:.2f} s")
    # In a run of its own, because looking takes time.
    for data in (small, large):
        with PeakResident(lambda: [os.getpid()]) as peak:
            own = peak_of_this_process()
            pack_once(data)
        figures.add(RINGKV, "pack resident", peak.bytes - own, data.pairs)
        click.echo(f"{data.pairs:,} pairs: {(peak.bytes - own) / 1e6:,.0f} MB resident at most")


def pack_once(data: Data) -> float:
    """Seconds of a fresh process; the dataset does not stay."""
    out = data.text.with_name("packed")
    shutil.rmtree(out, ignore_errors=True)
    try:
        return run(sys.executable, "-m", "ringkv", "pack", data.text, out)
    finally:
        shutil.rmtree(out, ignore_errors=True)


def peak_of_this_process() -> int:
    """What the harness itself has resident: counted with its children, and no part of theirs."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _sort(data: Data) -> float:
    out = data.text.with_name("sorted.data")
    out.unlink(missing_ok=True)
    try:
        return run("sort", "--output", out, data.text, environment={"LC_ALL": "C"})
    finally:
        out.unlink(missing_ok=True)
