"""What a request asks of the kernel: reads, writes and sleeps of the router and of the shards, as /proc counts them.

python -m bench.calls        prints a table; nothing is traced, so that nothing is slower while it is counted
"""

import tempfile
from functools import partial
from pathlib import Path
from typing import Final

import click

from bench.data import prepare
from bench.load import measure
from bench.peers.ringkv import Ringkv
from bench.processes import Processes
from bench.serving import CONNECTIONS
from bench.usage import maps_file, user_and_system_seconds

COUNTED: Final = {
    "reads": ("io", "syscr"),
    "writes": ("io", "syscw"),
    "sleeps": ("status", "voluntary_ctxt_switches"),
    "driven out": ("status", "nonvoluntary_ctxt_switches"),
}
"""Heading → the file of /proc and its field. Counts of sleeps and of preemptions are those of the main thread."""


def counts(pids: list[int]) -> dict[str, float]:
    """What the processes together have done so far, and the processor time that they have used, in microseconds."""
    found = {heading: sum(_field(pid, *place) for pid in pids) for heading, place in COUNTED.items()}
    user, system = user_and_system_seconds(pids)
    return {**found, "user µs": 1e6 * user, "system µs": 1e6 * system}


def _field(pid: int, file: str, field: str) -> int:
    lines = Path(f"/proc/{pid}/{file}").read_text().splitlines()
    return int(next(line.partition(":")[2] for line in lines if line.startswith(f"{field}:")))


@click.command()
@click.option("--pairs", type=click.IntRange(100), default=1_000_000, show_default=True)
@click.option("--seconds", type=click.FloatRange(1), default=4, show_default=True, help="Of each load.")
@click.option("--work", type=click.Path(path_type=Path), default=Path("build/bench"), show_default=True)
def main(pairs: int, seconds: float, work: Path) -> None:
    """Count what a request costs in calls, at 1 to 256 connections."""
    data = prepare(work.resolve(), pairs)
    headings = list(counts([]))
    click.echo(f"| {' | '.join(['', 'connections', 'requests/s', *headings])} |")
    click.echo(f"| --- |{' ---: |' * (len(headings) + 2)}")
    with tempfile.TemporaryDirectory(prefix="rkv-bench-") as folder, Processes(Path(folder)) as processes:
        endpoint = Ringkv().start(data, processes)
        load = partial(measure, endpoint, data.keys, pids=processes.pids)
        load(connections=64, seconds=1)
        segment = next(data.packed.glob("segment-*"))
        children = [pid for pid in processes.pids() if pid not in processes.roots()]
        shards = [pid for pid in children if maps_file(pid, segment)]
        # The fork server does nothing, and so adds nothing.
        who = {"router": [pid for pid in children if pid not in shards], "shards": shards}
        for connections in CONNECTIONS:
            before = {name: counts(pids) for name, pids in who.items()}
            found = load(connections=connections, seconds=seconds)
            for name, pids in who.items():
                after = counts(pids)
                each = [f"{(after[it] - before[name][it]) / found.requests:.2f}" for it in headings]
                click.echo(f"| {' | '.join([name, str(connections), f'{found.rate:,.0f}', *each])} |")


if __name__ == "__main__":
    main()
