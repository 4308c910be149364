"""A sizing in words and figures for people: a row for each, with how it comes about."""

from collections.abc import Iterator
from typing import Final

from rich.filesize import decimal
from rich.table import Table

from ringkv.process.words import counted
from ringkv.sizing import WHERE_MEASURED, Sizing

MINUTE: Final = 60.0
HOUR: Final = 3600.0


def sizing_table(sizing: Sizing) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    for what, amount in _rows(sizing):
        table.add_row(what, amount)
    return table


def _rows(sizing: Sizing) -> Iterator[tuple[str, str]]:
    pairs, mean = sizing.pairs, sizing.values / max(sizing.pairs, 1)
    copies = f"{sizing.replicas} of each key" if sizing.replicas > 1 else "each key once"
    zones = f", {-(-sizing.shards // sizing.zones):,} in each of {sizing.zones} zones" if sizing.zones > 1 else ""
    lost = f", and {decimal(sizing.part_lost)} while a zone is lost" if sizing.zones > 1 else ""
    yield "data", f"{counted(pairs, 'pair')} with {mean:,.0f} bytes each: {decimal(sizing.text)} as text"
    blocks = f"{counted(sizing.blocks // sizing.partitions, 'block')} of {pairs / sizing.blocks:,.0f} keys"
    yield "dataset", f"{decimal(sizing.dataset)}: {sizing.partitions:,} partitions of {blocks}"
    yield "shards", f"{sizing.shards:,}{zones}, {copies}"
    yield "a shard holds", f"{decimal(sizing.part)} at most{lost}"
    yield "memory", f"{decimal(sizing.memory)} for that and the shard itself"
    yield "cache", f"{decimal(sizing.cache)} on its disk, for two versions of a catalog in a store"
    read = f"has read all of it after {_seconds(sizing.warm)}, {_seconds(sizing.warm_core_seconds)} of one core"
    yield "start", f"answers after {_seconds(sizing.start)}, {read}"
    packing = sizing.packing_core_seconds
    yield "packing", f"{_seconds(packing)} of one core, {decimal(round(sizing.text / packing))} of text a second"
    yield "", f"{decimal(sizing.packing_disk)} to and from its disk, with room for twice the dataset"
    yield "times", _machine(sizing)


def _machine(sizing: Sizing) -> str:
    if sizing.machine == WHERE_MEASURED:
        return "as on the machine of docs/operations.md; --here tells those of this one"
    start, reading, packing = (
        f"{ratio:.2f}" for ratio in (sizing.machine.start, sizing.machine.reading, sizing.machine.packing)
    )
    return (
        f"of this machine as it is now: a start takes {start} times as long as on that of docs/operations.md, reading"
        f" {reading}, packing {packing}"
    )


def _seconds(seconds: float) -> str:
    if seconds < 2 * MINUTE:
        return f"{seconds:.1f} s"
    return f"{seconds / MINUTE:.0f} min" if seconds < 2 * HOUR else f"{seconds / HOUR:.1f} h"
