"""What the scenarios found, as a table for the terminal, and as a page with pictures for the documentation.

python -m tests.chaos.report build/chaos/results docs
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.table import Table

from tests.chaos.picture import write_picture
from tests.chaos.result import Result

HEADINGS: Final = (
    "scenario",
    "requests",
    "per s",
    "failed",
    "wrong",
    "refused",
    "sent again",
    "p50 ms",
    "p99 ms",
    "longest ms",
    "demand",
    "note",
)

INTRODUCTION: Final = """\
# Chaos: what faults cost

Written by `make chaos`. Each scenario runs a cluster of real processes on a million pairs, loads it at a fixed
pace from a process of its own, and does something to it. Every answer is compared byte for byte with the data
file; one request in fifty asks for a key that is not there. Latency counts from the moment at which a request was
*due*, whatever became of the ones before it, so that a stall is seen by every request that it delayed.

*failed*: no answer, or one that is none of 200, 404. *refused*: answered by 503 with Retry-After while no shard was
there to ask. *sent again*: the server closed the connection before it answered, and the client asked again.
*demand*: how long the longest wait may be, in ms. Cluster, load and harness share one machine: its other work makes
every time in here longer.
"""


def row(result: Result) -> tuple[str, ...]:
    measured = result.measured
    return (
        result.title,
        f"{measured.requests:,}",
        f"{measured.rate:,.0f}",
        f"{result.broken:,}",
        f"{measured.wrong:,}",
        f"{measured.failed - result.broken:,}",
        f"{measured.retried:,}",
        f"{1000 * measured.percentile(50):.1f}",
        f"{1000 * measured.percentile(99):.1f}",
        f"{1000 * measured.longest:.0f}",
        f"≤ {1000 * result.longest:.0f}" if result.longest is not None else "",
        result.note,
    )


def print_table(results: Iterable[Result]) -> None:
    table = Table(*HEADINGS)
    for result in results:
        table.add_row(*row(result))
    Console(width=220).print(table)


def markdown(results: list[Result]) -> str:
    rows = [HEADINGS, ("---", *["---:"] * (len(HEADINGS) - 2), "---"), *map(row, results)]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in rows)
    pictures = "\n\n".join(f"## {result.title}\n\n![](chaos/{result.name}.svg)" for result in results)
    return f"{INTRODUCTION}\n{table}\n\n{pictures}\n"


@click.command()
@click.argument("found", type=click.Path(path_type=Path))
@click.argument("docs", type=click.Path(path_type=Path))
def main(found: Path, docs: Path) -> None:
    """Print the results in FOUND; write DOCS/chaos.md and the pictures in DOCS/chaos/."""
    results = sorted(map(Result.read, found.iterdir()), key=lambda result: result.measured.due.min())
    print_table(results)
    for result in results:
        write_picture(result, docs / "chaos")
    (docs / "chaos.md").write_text(markdown(results), encoding="utf-8")


if __name__ == "__main__":
    main()
