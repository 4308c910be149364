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
from bench.client import COMPILER, compiled
from bench.data import Data
from bench.figures import RINGKV, Figures
from bench.load import KEPT, Endpoint, Measured, measure, measure_with
from bench.peers.nginx import NginxMemcached
from bench.peers.peer import Peer, program_path
from bench.peers.ringkv import Ringkv
from bench.processes import Processes
from bench.quiet import Quiet
from bench.serving import Scale, start_all

CONNECTIONS: Final = 64
SHARES: Final = (50, 80)
"""Per cent of what ringkv answers a second at most: of the median of as many rounds with wrk, before."""

PEERS: Final[tuple[Peer, ...]] = (Ringkv(), NginxMemcached())


def missing() -> list[str]:
    """The Debian packages without which this cannot be measured, beside wrk's."""
    return [package for program, package in COMPILER.items() if program_path(program) is None]


def open_loop(data: Data, scale: Scale, folder: Path, quiet: Quiet, figures: Figures) -> None:
    """Measure all that are installed in turn, at the same rates. Raises BenchmarkFailed."""
    client = compiled("openloop", folder)
    with ExitStack() as stack:
        running = start_all(PEERS, data, folder, stack, figures)
        most = _most(running[0], data, scale, quiet)
        for share in SHARES:
            figures.add(RINGKV, "open asked", most * share / 100, share)
        for number in range(scale.rounds):
            for share in SHARES:
                # Each round begins with the other one.
                for peer, endpoint, processes in running[:: (1, -1)[number % 2]]:
                    rate = max(CONNECTIONS / scale.seconds, most * share / 100)
                    asked = (rate, CONNECTIONS, scale.seconds, number + 1, endpoint.port, data.keys)
                    once = partial(
                        measure_with,
                        [*map(str, (client, *asked)), endpoint.prefix, endpoint.suffix],
                        connections=CONNECTIONS,
                        seconds=scale.seconds,
                        pids=processes.pids,
                    )
                    _keep(f"round {number + 1}, {share} %", peer, share, quiet.measured(once), figures)


def _most(running: tuple[Peer, Endpoint, Processes], data: Data, scale: Scale, quiet: Quiet) -> float:
    """Requests a second, of the median of the rounds."""
    _, endpoint, processes = running
    once = partial(measure, endpoint, data.keys, connections=CONNECTIONS, pids=processes.pids)
    once(seconds=min(2, scale.seconds))
    found = [quiet.measured(partial(once, seconds=scale.seconds, seed=seed)) for seed in range(1, scale.rounds + 1)]
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
