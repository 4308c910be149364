"""`ringkv plan`: what more or fewer shards would move and how even it would be, without doing it."""

import json
import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click
from rich.console import Console, Group, RenderableType
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from ringkv.change import Balance, Change, Load, Weights, balance, changes, rings
from ringkv.cluster.errors import StartupError
from ringkv.cluster.limits import MIN_BLOCKS
from ringkv.cluster.position import SLOTS
from ringkv.cluster.ring import Ring
from ringkv.dataset.cli import DATA, cache_dir, on_duplicate, packed
from ringkv.process.options import OneLineCommand
from ringkv.shard.name import checked

if TYPE_CHECKING:
    from ringkv.dataset.packing.merge import DuplicatePolicy

MAX_SHARDS: Final = 256
"""A ring of so many takes a third of a second to compute; a larger number is taken for a typing mistake."""

BAR: Final = 40
BAR_MIN: Final = 8
"""Characters of the longest bar at most and at least; between them the terminal's width decides."""

PLAIN_WIDTH: Final = 120
"""Columns of a table that is not written to a terminal, beside the names of the shards."""


class Shards(click.ParamType[tuple[int, ...]]):
    """`3..8`, `8..3` or `5`, as the numbers of shards one after the other."""

    name = "range"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        match = re.fullmatch(r"([0-9]{1,6})(?:\.\.([0-9]{1,6}))?", value)
        if not match:
            self.fail(f"{value!r} is not a number of shards; want 3..8, 8..3 or 5", param, ctx)
        first, last = int(match[1]), int(match[2] or match[1])
        if not (1 <= first <= MAX_SHARDS and 1 <= last <= MAX_SHARDS):
            self.fail(f"{value!r} is out of range; a plan is for 1 to {MAX_SHARDS} shards", param, ctx)
        return tuple(range(first, last + 1) if first <= last else range(first, last - 1, -1))


class Partitions(click.ParamType[int]):
    """The number of partitions of a packed dataset."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        text = str(value)
        number = int(text) if re.fullmatch("[0-9]{1,6}", text) else 0
        if not MIN_BLOCKS <= number <= SLOTS or number & (number - 1):
            self.fail(f"{text!r} is not a power of two from {MIN_BLOCKS} to {SLOTS}", param, ctx)
        return number


class Pattern(click.ParamType[str]):
    """How shards are called, with {n} for the number."""

    name = "pattern"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value.count("{n}") != 1:
            self.fail(f"{value!r} has no {{n}}, or several, for the shard's number; want shard-{{n}}", param, ctx)
        try:
            checked(value.replace("{n}", str(MAX_SHARDS)))
        except StartupError as error:
            self.fail(str(error), param, ctx)
        return str(value)


class Plan(NamedTuple):
    """All that is shown: `dataset` and `weights` are None without data; without a change `steps` has one ring."""

    pattern: str
    replicas: int
    dataset: str | None
    weights: Weights | None
    steps: list[Ring]
    changes: list[Change]

    @property
    def partitions(self) -> int:
        return self.steps[0].partitions

    @property
    def longest_name(self) -> str:
        return max((name for ring in (self.steps[0], self.steps[-1]) for name in ring.names), key=len)

    @property
    def first(self) -> Balance:
        return self.changes[-1].before if self.changes else balance(self.steps[0], self.weights)


@click.command(cls=OneLineCommand)
@click.argument("data", type=DATA, nargs=-1)
@click.option("--shards", type=Shards(), required=True, help="From how many to how many, as 3..8 or 8..3, or just 5.")
@click.option(
    "--replicas", type=click.IntRange(1, MAX_SHARDS), default=1, show_default=True, help="Owners of each key."
)
@click.option("--partitions", type=Partitions(), help="Without DATA: how many its dataset has.  [default: 256]")
@click.option(
    "--names",
    type=Pattern(),
    default="shard-{n}",
    show_default=True,
    help="How shards are called, for names decide who owns what: `ringkv-shard-{n}` in Docker Compose.",
)
@click.option("--svg", type=click.Path(path_type=Path), help="Also draw the first and the last ring into this file.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@on_duplicate
@cache_dir
def plan(  # noqa: PLR0913 - as many as the command has options
    *,
    data: tuple[Path, ...],
    shards: tuple[int, ...],
    replicas: int,
    partitions: int | None,
    names: str,
    svg: Path | None,
    as_json: bool,
    on_duplicate: "DuplicatePolicy",
    cache: Path | None,
) -> None:
    """Show what a change of the number of shards would move, and how even the ring is before and after.

    DATA, packed or anything that `ringkv pack` takes, makes keys and bytes exact; without it partitions are
    counted. `least` is what any placement would have to move for the same balance.

    \b
    ringkv plan --shards 3..8
    ringkv plan example.data --shards 5..3 --replicas 2 --svg ring.svg
    """  # noqa: D301 - click takes backslash-b for "leave this paragraph as it is"
    if data and partitions is not None:
        raise click.ClickException("--partitions is for a plan without DATA, which has its own number; leave one out")
    dataset, weights = None, None
    if data:
        with packed(data, on_duplicate, cache) as path:
            dataset, weights = _weigh(path)
    count = len(weights.keys) if weights else partitions or MIN_BLOCKS
    steps = rings(names, shards, replicas, count)
    made = Plan(names, replicas, dataset, weights, steps, changes(steps, weights))
    if svg is not None:
        _draw(made, svg)
    if as_json:
        click.echo(json.dumps(_as_json(made)))
        return
    width = None if sys.stdout.isatty() else PLAIN_WIDTH + len(made.longest_name)
    console = Console(highlight=False, width=width)
    console.print(_account(made, console.width))


def _weigh(path: Path) -> tuple[str, Weights]:
    from ringkv.dataset.dataset import Dataset  # noqa: PLC0415 - a plan without data needs no Arrow

    with Dataset.open(path) as dataset:
        partitions = dataset.partitions
        return dataset.manifest.dataset_id, Weights(partitions.keys.tolist(), partitions.sizes.tolist())


def _draw(made: Plan, path: Path) -> None:
    from ringkv.drawing import drawing  # noqa: PLC0415 - few plans are drawn

    try:
        path.write_text(drawing(made.steps[0], made.steps[-1]), encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"{path}: cannot be written: {error.strerror}; give another --svg") from error


def _as_json(made: Plan) -> dict[str, Any]:
    return {
        "names": made.pattern,
        "replicas": made.replicas,
        "partitions": made.partitions,
        "dataset": made.dataset,
        "rings": [{"ring": ring.ring_id, **asdict(balance(ring, made.weights))} for ring in made.steps],
        "changes": [
            asdict(change) | {"before": change.before.shards, "after": change.after.shards} for change in made.changes
        ],
    }


def _account(made: Plan, width: int) -> RenderableType:
    copies = f", {made.replicas} copies of each" if made.replicas > 1 else ""
    about = f"{made.partitions:,} partitions{copies}, shards {made.pattern.replace('{n}', '1')} and so on"
    if made.dataset and made.weights:
        about = f"dataset {made.dataset}: {sum(made.weights.keys):,} keys, {decimal(sum(made.weights.bytes))}\n{about}"
    parts: list[RenderableType] = [Text(about), Text()]
    if made.changes:
        parts += [_changes(made.changes, width), Text()]
    else:
        parts += [Text(f"the largest shard has {made.first.largest:.3f} times the mean"), Text()]
    return Group(*parts, _loads(made, width))


def _changes(made: list[Change], width: int) -> Table:
    """One row for each step, and a last one for all steps together."""
    bar = _room(width, 80, 1)
    table = Table(box=None, pad_edge=False)
    known = made[0].keys is not None
    table.add_column("shards", justify="right", header_style="dim", no_wrap=True)
    heads = ["moved", "least", "ratio", *(["keys", "bytes"] if known else []), "share"]
    for head in heads:
        table.add_column(head, justify="right", header_style="dim", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("largest / mean", header_style="dim", no_wrap=True)
    for number, change in enumerate(made):
        whole = len(made) > 1 and number == len(made) - 1
        amounts = [f"{change.keys:,}", decimal(change.bytes or 0)] if known else []
        table.add_row(
            f"{change.before.shards} → {change.after.shards}",
            f"{change.moved:,}",
            f"{change.least:,}",
            "-" if change.ratio is None else f"{change.ratio:.2f}",
            *amounts,
            f"{change.share:.1%}",
            Text(_bar(change.share, 1.0, bar), "cyan"),
            f"{change.before.largest:.3f} → {change.after.largest:.3f}",
            style="bold" if whole else "",
        )
    return table


def _loads(made: Plan, width: int) -> Table:
    """One row for each shard: what it holds in the first ring and in the last, as bars of one scale."""
    before = {load.name: load for load in made.first.loads}
    after = {load.name: load for load in made.changes[-1].after.loads} if made.changes else {}
    longest = max(map(_amount, [*before.values(), *after.values()])) or 1
    unit = "keys" if made.weights else "partitions"
    heads = [f"{unit} of {len(loads)}" for loads in (before, after) if loads]
    bar = _room(width, len(made.longest_name) + sum(len(head) + 6 for head in heads), len(heads))
    table = Table(box=None, pad_edge=False)
    table.add_column("shard", header_style="dim", no_wrap=True)
    for head in heads:
        table.add_column(head, justify="right", header_style="dim", no_wrap=True)
        table.add_column("", no_wrap=True)
    for name in before | after:
        row: list[RenderableType] = []
        for loads, style in ((before, "blue"), (after, "green")):
            amount = _amount(loads[name]) if name in loads else 0
            row += [f"{amount:,}", Text(_bar(amount, longest, bar), style)]
        table.add_row(name, *(row if after else row[:2]))
    return table


def _room(width: int, taken: int, bars: int) -> int:
    """How long a bar may be, where `taken` columns are needed for everything but the bars."""
    return max(BAR_MIN, min(BAR, (width - taken) // bars))


def _amount(load: Load) -> int:
    return load.partitions if load.keys is None else load.keys


def _bar(amount: float, longest: float, width: int) -> str:
    """A bar to an eighth of a character."""
    eighths = round(8 * width * amount / longest)
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()
