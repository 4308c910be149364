"""Latency at rates that do not wait for answers: half of the most that ringkv answers, and four fifths of it.

Clients of a real service do not ask less because an answer is late. Each latency counts from when its request was due.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final

import click

from bench.cells import HEADINGS, cells, number
from bench.client import compiled
from bench.data import Data
from bench.figures import RINGKV, Figures
from bench.load import KEPT, Measured, measure, measure_with
from bench.peers.nginx import NginxMemcached
from bench.peers.peer import Peer
from bench.peers.ringkv import Ringkv
from bench.quiet import Quiet
from bench.serving import Scale, start_all

CONNECTIONS: Final = 64
SHARES: Final = (50, 80)
"""Per cent of what ringkv answers a second at most: of the median of as many rounds with wrk, before."""

PEERS: Final[tuple[Peer, ...]] = (Ringkv(), NginxMemcached())


def open_loop(data: Data, scale: Scale, folder: Path, quiet: Quiet, figures: Figures) -> None:
    """Measure all that are installed in turn, at the same rates. Raises BenchmarkFailed."""
    client = compiled("openloop", folder)
    most = _most(data, scale, folder / "most", quiet, figures)
    for share in SHARES:
        figures.add(RINGKV, "open asked", most * share / 100, share)
    for seed in range(1, scale.rounds + 1):
        with ExitStack() as stack:
            running = start_all(PEERS, data, folder / str(seed), stack, figures)
            for _, endpoint, processes in running:
                measure(
                    endpoint, data.keys, connections=CONNECTIONS, seconds=min(2, scale.seconds), pids=processes.pids
                )
            for share in SHARES:
                # Each round begins with the other one.
                for peer, endpoint, processes in running[:: (-1, 1)[seed % 2]]:
                    rate = max(CONNECTIONS / scale.seconds, most * share / 100)
                    asked = (rate, CONNECTIONS, scale.seconds, seed, endpoint.port, data.keys)
                    once = partial(
                        measure_with,
                        [*map(str, (client, *asked)), endpoint.prefix, endpoint.suffix],
                        connections=CONNECTIONS,
                        seconds=scale.seconds,
                        pids=processes.pids,
                    )
                    _keep(f"round {seed}, {share} %", peer, share, quiet.measured(once), figures)


def _most(data: Data, scale: Scale, folder: Path, quiet: Quiet, figures: Figures) -> float:
    """Requests a second, of the median of the rounds."""
    found: list[Measured] = []
    for seed in range(1, scale.rounds + 1):
        with ExitStack() as stack:
            ((_, endpoint, processes),) = start_all(PEERS[:1], data, folder / str(seed), stack, figures)
            once = partial(measure, endpoint, data.keys, connections=CONNECTIONS, pids=processes.pids)
            once(seconds=min(2, scale.seconds))
            found.append(quiet.measured(partial(once, seconds=scale.seconds, seed=seed)))
    most = median(each.rate for each in found)
    click.echo(f"{RINGKV} answers {most:,.0f}/s at most")
    return most


def _keep(title: str, peer: Peer, share: int, found: Measured, figures: Figures) -> None:
    for quantity in KEPT:
        figures.add(peer.name, f"open {quantity}", getattr(found, quantity), share)
    click.echo(f"{title}: {peer.name:20} {found}")


def at_fixed_rates(figures: Figures) -> list[Sequence[str]]:
    """What it has measured; the first row is the heading."""
    rows: list[Sequence[str]] = [("peer", "asked/s", "of the most", *HEADINGS)]
    for share in figures.points(RINGKV, "open asked"):
        asked = number(figures.median(RINGKV, "open asked", share), "{:,.0f}")
        for subject in figures.subjects("open rate"):
            row = (subject, asked, f"{share} %", *cells(figures, subject, "open {}", share))
            rows.append(row)
    return rows
