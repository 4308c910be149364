"""`ringkv plan`: what more or fewer shards would move and how even it would be, without doing it."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click
from rich.console import Console, Group, RenderableType
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from ringkv.change import Balance, Change, Load, Shards, Weights, balance, changes, rings
from ringkv.cluster.limits import MAX_REPLICAS, MAX_SHARDS, MIN_BLOCKS
from ringkv.cluster.ring import Ring
from ringkv.dataset.cli import DATA, cache_dir, on_duplicate, packed
from ringkv.plan_options import Counts, Pairs, Partitions, Pattern, WeightsInTurn, check
from ringkv.process.command import OneLineCommand
from ringkv.process.options import SIZE

if TYPE_CHECKING:
    from ringkv.dataset.packing.merge import DuplicatePolicy
    from ringkv.sizing import Sizing

BAR: Final = 40
BAR_MIN: Final = 8
"""Characters of the longest bar, at most and at least; between them the terminal's width decides."""

MAX_ROWS: Final = 64
"""With more shards than this the table of shards is left out; `--json` always has all of them."""

ZONE_WIDTH: Final = 24
"""Columns that a shard's zone and weight take."""

PLAIN_WIDTH: Final = 120
"""Columns of a table that is not written to a terminal, beside the names of the shards."""


class Plan(NamedTuple):
    """All that is shown: `dataset` and `weights` are None without data; `steps` are rings, one if nothing changes."""

    shards: Shards
    replicas: int
    dataset: str | None
    weights: Weights | None
    steps: list[Ring]
    changes: list[Change]
    sizing: "Sizing | None" = None

    @property
    def partitions(self) -> int:
        return self.steps[0].partitions

    @property
    def largest_ring(self) -> int:
        return max(len(self.steps[0].names), len(self.steps[-1].names))

    @property
    def longest_name(self) -> str:
        return max((name for ring in (self.steps[0], self.steps[-1]) for name in ring.names), key=len)

    @property
    def first(self) -> Balance:
        return self.changes[-1].before if self.changes else balance(self.steps[0], self.weights)


@click.command(cls=OneLineCommand)
@click.argument("data", type=DATA, nargs=-1)
@click.option(
    "--shards",
    type=Counts(),
    help="From how many to how many, as 3..8 or 8..3, or just 5.  [default: as many as --memory asks for]",
)
@click.option(
    "--replicas", type=click.IntRange(1, MAX_REPLICAS), default=1, show_default=True, help="Owners of each key."
)
@click.option("--partitions", type=Partitions(), help="Without DATA: how many its dataset has.  [default: 256]")
@click.option(
    "--names",
    type=Pattern(),
    default="shard-{n}",
    show_default=True,
    help="How shards are called, for names decide who owns what: `ringkv-shard-{n}` in Docker Compose.",
)
@click.option("--pairs", type=Pairs(), help="Instead of DATA: how many pairs there will be, as 1e10 or 10M.")
@click.option("--value-size", type=SIZE, default="60", show_default=True, help="Bytes of a value, for --pairs.")
@click.option("--memory", type=SIZE, help="What a shard's machine has, as 64G: tells how many shards it takes.")
@click.option(
    "--zones",
    type=click.IntRange(1, MAX_SHARDS),
    default=1,
    show_default=True,
    help="Of several, in which shards are in turn, one may be lost, and the memory of the others has to do.",
)
@click.option(
    "--weights",
    type=WeightsInTurn(),
    default="1",
    show_default=True,
    help="Of shards that are not alike, in turn: 2,1,1 if every third one is to hold twice as much.",
)
@click.option("--svg", type=click.Path(path_type=Path), help="Also draw the first and the last ring into this file.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@on_duplicate
@cache_dir
def plan(  # noqa: PLR0913 - as many as the command has options
    *,
    data: tuple[Path, ...],
    shards: tuple[int, ...] | None,
    replicas: int,
    partitions: int | None,
    names: str,
    pairs: int | None,
    value_size: int,
    memory: int | None,
    zones: int,
    weights: tuple[float, ...],
    svg: Path | None,
    as_json: bool,
    on_duplicate: "DuplicatePolicy",
    cache: Path | None,
) -> None:
    """Show what a change of the number of shards would move, and how even the ring is before and after.

    DATA, packed or anything that `ringkv pack` takes, makes keys and bytes exact; --pairs draws them; without either
    partitions are counted. `least` is what any placement would have to move for the same balance.

    \b
    ringkv plan --shards 3..8
    ringkv plan example.data --shards 5..3 --replicas 2 --svg ring.svg
    ringkv plan --pairs 1e10 --value-size 60 --memory 64G --replicas 2 --zones 3
    """  # noqa: D301 - click takes backslash-b for "leave this paragraph as it is"
    check(data, pairs, partitions, shards, memory, weights)
    standing = Shards(names, zones, weights)
    dataset, amounts, sizing = None, None, None
    if data:
        with packed(data, on_duplicate, cache) as path:
            dataset, amounts = _weigh(path)
    counts = shards or ()
    if pairs or memory:
        from ringkv.sizing import drawn  # noqa: PLC0415 - a plan of partitions needs no NumPy

        sizing = _size(amounts or (pairs or 0, value_size), counts, memory or 0, replicas, standing)
        amounts = amounts or drawn(sizing)
        counts = counts or ((sizing.shards, sizing.shards - 1) if sizing.shards > 1 else (1,))
    steps = rings(standing, counts, replicas, len(amounts.keys) if amounts else partitions or MIN_BLOCKS)
    made = Plan(standing, replicas, dataset, amounts, steps, changes(steps, amounts), sizing)
    if svg is not None:
        _draw(made, svg)
    if as_json:
        click.echo(json.dumps(_as_json(made)))
        return
    console = Console(highlight=False, width=None if sys.stdout.isatty() else PLAIN_WIDTH + len(made.longest_name))
    console.print(_account(made, console.width))


def _size(
    data: Weights | tuple[int, int], counts: tuple[int, ...], memory: int, replicas: int, standing: Shards
) -> "Sizing":
    """The sizing of real data, given by its weights, or of so many pairs with values of so many bytes."""
    from ringkv.shard.settings import WARM_RATE  # noqa: PLC0415 - as above
    from ringkv.sizing import KEY_BYTES, Data, shards_needed, sized  # noqa: PLC0415

    if isinstance(data, Weights):
        pairs = sum(data.keys)
        found = Data(pairs, max(0, sum(data.bytes) - pairs * KEY_BYTES))
    else:
        found = Data(data[0], data[0] * data[1])
    shards = counts[-1] if counts else shards_needed(found, memory, replicas, standing.zones)
    return sized(found, shards, replicas, standing.zones, WARM_RATE, standing.weights)


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
        "sizing": asdict(made.sizing) if made.sizing else None,
        "names": made.shards.pattern,
        "replicas": made.replicas,
        "zones": made.shards.zones,
        "weights": made.shards.weights,
        "partitions": made.partitions,
        "dataset": made.dataset,
        "rings": [{"ring": ring.ring_id, **asdict(balance(ring, made.weights))} for ring in made.steps],
        "changes": [
            asdict(change) | {"before": change.before.shards, "after": change.after.shards} for change in made.changes
        ],
    }


def _account(made: Plan, width: int) -> RenderableType:
    copies = f", {made.replicas} copies of each" if made.replicas > 1 else ""
    about = f"{made.partitions:,} partitions{copies}, shards {made.shards.pattern.replace('{n}', '1')} and so on"
    if made.shards.zones > 1:
        lost = made.changes[-1].after.lost if made.changes else made.first.lost
        takes = f"takes {lost:,} partitions with it" if lost else "takes no key with it"
        about += f", in {made.shards.zones} zones in turn: a lost one {takes}"
    if made.dataset and made.weights:
        about = f"dataset {made.dataset}: {sum(made.weights.keys):,} keys, {decimal(sum(made.weights.bytes))}\n{about}"
    parts: list[RenderableType] = [Text(about), Text()]
    if made.sizing:
        from ringkv.sizing_told import sizing_table  # noqa: PLC0415 - as above

        parts += [sizing_table(made.sizing), Text()]
    if made.changes:
        parts += [_changes(made.changes, width), Text()]
    else:
        parts += [Text(f"the largest shard has {made.first.largest:.3f} times the mean"), Text()]
    if made.largest_ring <= MAX_ROWS:
        parts.append(_loads(made, width))
    return Group(*parts)


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
    bar = _room(
        width,
        len(made.longest_name) + ZONE_WIDTH + sum(len(head) + 6 for head in heads),
        len(heads),
    )
    table = Table(box=None, pad_edge=False)
    table.add_column("shard", header_style="dim", no_wrap=True)
    for head in heads:
        table.add_column(head, justify="right", header_style="dim", no_wrap=True)
        table.add_column("", no_wrap=True)
    zoned = made.shards.zones > 1 or len(set(made.shards.weights)) > 1
    for head in ("zone", "weight") if zoned else ():
        table.add_column(head, header_style="dim", no_wrap=True)
    for name, load in (before | after).items():
        row: list[RenderableType] = []
        for loads, style in ((before, "blue"), (after, "green")):
            amount = _amount(loads[name]) if name in loads else 0
            row += [f"{amount:,}", Text(_bar(amount, longest, bar), style)]
        table.add_row(name, *(row if after else row[:2]), *((load.zone, f"{load.weight:g}") if zoned else ()))
    return table


def _room(width: int, taken: int, bars: int) -> int:
    """How long each of `bars` bars in a row may be, if everything else takes `taken` columns."""
    return max(BAR_MIN, min(BAR, (width - taken) // bars))


def _amount(load: Load) -> int:
    return load.partitions if load.keys is None else load.keys


def _bar(amount: float, longest: float, width: int) -> str:
    """A bar to an eighth of a character."""
    eighths = round(8 * width * amount / longest)
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()
