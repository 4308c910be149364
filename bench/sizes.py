"""Values of different sizes, all else alike: what bytes cost beside requests."""

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final

import click

from bench.cells import HEADINGS, cells, number
from bench.data import prepare
from bench.figures import RINGKV, Figures
from bench.load import KEPT, measure
from bench.peers.nginx import NginxMemcached
from bench.peers.peer import Peer
from bench.peers.ringkv import Ringkv
from bench.quiet import Quiet
from bench.serving import Scale, start_all

CONNECTIONS: Final = 64
SIZES: Final = (60, 1024, 16 * 1024)
LEAST: Final = 100
"""Pairs. Of each size there are otherwise as many as have the same bytes of values together."""

# Without hot values: the router would keep all of so few large values, and ask the shards for nothing. nginx gets a
# buffer that takes the largest answer at once, instead of 4 KiB.
PEERS: Final[tuple[Peer, ...]] = (Ringkv(3, "--hot-memory", "0"), NginxMemcached("memcached_buffer_size 32k;"))


def measure_sizes(work: Path, pairs: int, scale: Scale, folder: Path, quiet: Quiet, figures: Figures) -> None:  # noqa: PLR0913, PLR0917 - of what, how much, how long, where, when, into what
    """Of `pairs` pairs of the smallest size, and as many bytes of the others. Raises BenchmarkFailed."""
    datasets = {size: prepare(work, max(LEAST, pairs * SIZES[0] // size), size) for size in SIZES}
    for size, data in datasets.items():
        figures.add(RINGKV, "sizes pairs", data.pairs, size)
    for seed in range(1, scale.rounds + 1):
        for size, data in datasets.items():
            with ExitStack() as stack:
                running = start_all(PEERS, data, folder / f"{seed}-{size}", stack, figures)
                # Each round begins with the other one.
                for peer, endpoint, processes in running[:: (-1, 1)[seed % 2]]:
                    once = partial(measure, endpoint, data.keys, connections=CONNECTIONS, pids=processes.pids)
                    once(seconds=min(2, scale.seconds))
                    found = quiet.measured(partial(once, seconds=scale.seconds, seed=seed))
                    for quantity in KEPT:
                        figures.add(peer.name, f"sizes {quantity}", getattr(found, quantity), size)
                    click.echo(f"round {seed}, {size:6,} bytes: {peer.name:20} {found}")


def by_size(figures: Figures) -> list[Sequence[str]]:
    """What it has measured; the first row is the heading."""
    rows: list[Sequence[str]] = [("bytes a value", "pairs", "peer", *HEADINGS, "MB/s")]
    for size in figures.points(RINGKV, "sizes rate"):
        pairs = number(figures.median(RINGKV, "sizes pairs", size), "{:,.0f}")
        for subject in figures.subjects("sizes rate"):
            volume = number(figures.median(subject, "sizes rate", size), "{:,.1f}", size / 1e6)
            rows.append((f"{size:,}", pairs, subject, *cells(figures, subject, "sizes {}", size), volume))
    return rows
