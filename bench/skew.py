"""Requests for keys that are asked for unevenly, by routers that keep hot values and one that does not, in turn."""

from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final

import click

from bench.data import Data
from bench.figures import RINGKV, Figures
from bench.load import Draw, Measured, measure
from bench.peers.ringkv import Ringkv
from bench.processes import Processes
from bench.quiet import Quiet
from bench.serving import Scale, check

CONNECTIONS: Final = 64
WITHOUT: Final = "ringkv --hot-memory 0"
WARM_UP: Final = 8.0
"""Seconds before the first round, at most: a router takes as long to know most of the hot keys."""

DRAWS: Final[dict[Draw, str]] = {
    "even": "drawn evenly",
    "zipf": "drawn by Zipf's law, exponent 0.99",
    "one": "one hot key",
}


def skew(data: Data, scale: Scale, folder: Path, quiet: Quiet, figures: Figures) -> None:
    """Measure each of the draws with both. Raises BenchmarkFailed."""
    with ExitStack() as stack:

        def start(*options: str) -> partial[Measured]:
            processes = stack.enter_context(Processes(folder / f"skew{len(started)}"))
            peer = Ringkv(3, *options)
            endpoint = peer.start(data, processes)
            check(peer, endpoint, data)
            started.append(endpoint.port)
            return partial(measure, endpoint, data.keys, connections=CONNECTIONS, pids=processes.pids)

        started: list[int] = []
        without = start("--hot-memory", "0")
        # A router for each draw, which keeps what is hot in that one.
        pairs = {draw: ((RINGKV, start()), (WITHOUT, without)) for draw in DRAWS}
        for draw, pair in pairs.items():
            for _, once in pair:
                once(seconds=min(WARM_UP, 2 * scale.seconds), draw=draw)
        for number in range(scale.rounds):
            for draw, pair in pairs.items():
                # Each round begins with the other one.
                for name, once in pair[:: (1, -1)[number % 2]]:
                    found = quiet.measured(partial(once, seconds=scale.seconds, seed=number + 1, draw=draw))
                    _keep(f"round {number + 1}, {draw:4}", name, draw, found, figures)


def _keep(title: str, name: str, draw: Draw, found: Measured, figures: Figures) -> None:
    for quantity in ("rate", "p50", "p99", "cpu"):
        figures.add(name, f"{quantity} {draw}", getattr(found, quantity))
    click.echo(
        f"{title}: {name:24} {found.rate:9,.0f}/s  p99 {1e3 * found.p99:7.2f} ms  {1e6 * found.cpu:6.1f} µs CPU"
        f"  others {found.others:.2f}" + (f"  FAILED {found.failed}" if found.failed else "")
    )
