"""Keys that are asked for unevenly: a router that keeps hot values, one that does not, and nginx, in turn."""

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final

import click

from bench.cells import HEADINGS, cells
from bench.data import Data
from bench.figures import RINGKV, Figures
from bench.load import KEPT, Draw, Measured, measure
from bench.peers.nginx import NginxMemcached
from bench.peers.peer import Peer
from bench.peers.ringkv import Ringkv
from bench.quiet import Quiet
from bench.serving import Scale, start_all

CONNECTIONS: Final = 64
WITHOUT: Final = "ringkv --hot-memory 0"
NGINX: Final = NginxMemcached()
WARM_UP: Final[dict[Draw, float]] = {"even": 2.0, "zipf": 8.0, "one": 2.0}
"""Seconds before each round, at most: a router takes as long to know most of the hot keys."""

DRAWS: Final[dict[Draw, str]] = {
    "even": "drawn evenly",
    "zipf": "drawn by Zipf's law, exponent 0.99",
    "one": "one hot key",
}


def skew(data: Data, scale: Scale, folder: Path, quiet: Quiet, figures: Figures) -> None:
    """Measure each of the draws with all that are installed. Raises BenchmarkFailed."""
    for number in range(scale.rounds):
        with ExitStack() as stack:

            def start(peers: tuple[Peer, ...], place: str, stack: ExitStack = stack) -> list[partial[Measured]]:
                return [
                    partial(measure, endpoint, data.keys, connections=CONNECTIONS, pids=processes.pids)
                    for _, endpoint, processes in start_all(peers, data, folder / place, stack, figures)
                ]

            unaware = dict(
                zip((WITHOUT, NGINX.name), start((Ringkv(3, "--hot-memory", "0"), NGINX), "unaware"), strict=False)
            )
            # A router for each draw, which keeps what is hot in that one.
            ways = {draw: {RINGKV: start((Ringkv(),), draw)[0], **unaware} for draw in DRAWS}
            for draw, way in ways.items():
                way[RINGKV](seconds=min(WARM_UP[draw], 2 * scale.seconds), draw=draw)
            for once in unaware.values():
                once(seconds=min(2, scale.seconds))
            for draw, way in ways.items():
                # Each round begins with another one.
                turn = number % len(way)
                for name, once in [*way.items()][turn:] + [*way.items()][:turn]:
                    found = quiet.measured(partial(once, seconds=scale.seconds, seed=number + 1, draw=draw))
                    _keep(f"round {number + 1}, {draw:4}", name, draw, found, figures)


def _keep(title: str, name: str, draw: Draw, found: Measured, figures: Figures) -> None:
    for quantity in KEPT:
        figures.add(name, f"{quantity} {draw}", getattr(found, quantity))
    click.echo(f"{title}: {name:24} {found}")


def by_draw(figures: Figures) -> list[Sequence[str]]:
    """What it has measured; the first row is the heading."""
    rows: list[Sequence[str]] = [("keys", "peer", *HEADINGS, "of even keys")]
    for draw, text in DRAWS.items():
        for subject in figures.subjects(f"rate {draw}"):
            found, even = figures.median(subject, f"rate {draw}"), figures.median(subject, "rate even")
            multiple = f"{found / even:.2f}x" if found and even else ""
            rows.append((text, subject, *cells(figures, subject, f"{{}} {draw}"), multiple))
    return rows
