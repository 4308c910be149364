"""How the cost of a lookup and of a request grows with the number of pairs, and with the number of shards."""

from functools import partial
from pathlib import Path
from typing import Final

import click

from bench.data import Data, prepare
from bench.figures import RINGKV, Figures
from bench.load import measure
from bench.lookup import look_up
from bench.peers.ringkv import Ringkv
from bench.processes import Processes
from bench.quiet import Quiet
from bench.serving import Scale

CONNECTIONS: Final = 64
SHARDS: Final = (1, 2, 4, 8, 16)

MAX_ROUNDS: Final = 3
"""Rounds: each starts nine clusters of up to ten million pairs, so that there is no time for many."""


def sizes(pairs: int) -> tuple[int, ...]:
    """From a hundredth to ten times as many."""
    return pairs // 100, pairs // 10, pairs, 10 * pairs


def grow(  # noqa: PLR0913, PLR0917 - from where, where, how much, how long, when, into what
    work: Path, folder: Path, pairs: int, scale: Scale, quiet: Quiet, figures: Figures
) -> None:
    datasets = [prepare(work, size) for size in sizes(pairs)]
    rounds = min(scale.rounds, MAX_ROUNDS)
    for number in range(rounds):
        for data in datasets:
            quiet.wait()
            look_up(data, figures, "lookup growth", beside_dict=False)
            _requests(data, 3, scale, folder, quiet, figures, ("by pairs", data.pairs))
        for shards in SHARDS:
            _requests(datasets[2], shards, scale, folder, quiet, figures, ("by shards", shards))
        click.echo(f"round {number + 1} of {rounds} done")


def _requests(  # noqa: PLR0913, PLR0917 - of what, by how many, how long, where, when, into what, under which name
    data: Data, shards: int, scale: Scale, folder: Path, quiet: Quiet, figures: Figures, place: tuple[str, int]
) -> None:
    axis, at = place
    with Processes(folder / "scaling") as processes:
        # Without hot values: the router would keep a whole small dataset, and ask the shards for nothing.
        endpoint = Ringkv(shards, "--hot-memory", "0").start(data, processes)
        once = partial(measure, endpoint, data.keys, connections=CONNECTIONS, pids=processes.pids)
        once(seconds=1)
        found = quiet.measured(partial(once, seconds=scale.seconds))
    for quantity in ("rate", "p50", "p99", "cpu"):
        figures.add(RINGKV, f"{quantity} {axis}", getattr(found, quantity), at)
    click.echo(f"{data.pairs:,} pairs, {shards} shards: {found.rate:,.0f}/s, {1e6 * found.cpu:.1f} µs CPU a request")
