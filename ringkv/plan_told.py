"""A plan in words, tables and bars for people."""

from typing import TYPE_CHECKING, Final, NamedTuple

from rich.console import Group, RenderableType
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from ringkv.change import Balance, Change, Load, Shards, Weights, balance
from ringkv.cluster.ring import Ring

if TYPE_CHECKING:
    from ringkv.sizing import Sizing

BAR: Final = 40
BAR_MIN: Final = 8
"""Characters of the longest bar, at most and at least; between them the terminal's width decides."""

MAX_ROWS: Final = 64
"""With more shards than this the table of shards is left out; `--json` always has all of them."""

ZONE_WIDTH: Final = 24
"""Columns that a shard's zone and weight take."""


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


def account(made: Plan, width: int) -> RenderableType:
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
        from ringkv.sizing_told import sizing_table  # noqa: PLC0415 - a plan of partitions needs no NumPy

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
