"""`ringkv plan`: what more or fewer shards would move and how even it would be, without doing it."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from ringkv.change import Shards, Weights, balance, changes, rings
from ringkv.cluster.limits import MAX_REPLICAS, MAX_SHARDS, MIN_BLOCKS
from ringkv.dataset.command import packed
from ringkv.dataset.options import DATA, cache_dir, on_duplicate
from ringkv.output import Output
from ringkv.plan_options import Counts, Pairs, Partitions, Pattern, WeightsInTurn, check
from ringkv.plan_told import Plan, account
from ringkv.process.command import OneLineCommand
from ringkv.process.options import SIZE

if TYPE_CHECKING:
    from ringkv.dataset.packing.merge import DuplicatePolicy
    from ringkv.sizing import Machine, Sizing

PLAIN_WIDTH: Final = 120
"""Columns of a table that is not written to a terminal, beside the names of the shards."""


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
@click.option("--here", is_flag=True, help="Tell the times of this machine: some 15 s of packing, starts and reading.")
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
    here: bool,
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
    check(data, pairs, partitions, shards, memory, weights, here=here)
    standing = Shards(names, zones, weights)
    dataset, amounts, sizing = None, None, None
    if data:
        with packed(data, on_duplicate, cache) as path:
            dataset, amounts = _weigh(path)
    counts = shards or ()
    if pairs or memory:
        from ringkv.sizing import WHERE_MEASURED, drawn  # noqa: PLC0415 - a plan of partitions needs no NumPy

        machine = _this_machine() if here else WHERE_MEASURED
        sizing = _size(amounts or (pairs or 0, value_size), counts, memory or 0, replicas, standing, machine)
        amounts = amounts or drawn(sizing)
        counts = counts or ((sizing.shards, sizing.shards - 1) if sizing.shards > 1 else (1,))
    steps = rings(standing, counts, replicas, len(amounts.keys) if amounts else partitions or MIN_BLOCKS)
    made = Plan(standing, replicas, dataset, amounts, steps, changes(steps, amounts), sizing)
    if svg is not None:
        _draw(made, svg)
    if as_json:
        click.echo(json.dumps(_as_json(made)))
        return
    console = Output()
    if not console.is_terminal:
        console.width = PLAIN_WIDTH + len(made.longest_name)
    console.print(account(made, console.width))


def _this_machine() -> "Machine":
    from ringkv.yardstick import this_machine  # noqa: PLC0415 - as above

    return this_machine()


def _size(  # noqa: PLR0913, PLR0917 - as the plan has options
    data: Weights | tuple[int, int],
    counts: tuple[int, ...],
    memory: int,
    replicas: int,
    standing: Shards,
    machine: "Machine",
) -> "Sizing":
    """The sizing of real data, given by its weights, or of so many pairs with values of so many bytes."""
    from ringkv.shard.settings import WARM_RATE  # noqa: PLC0415 - as above
    from ringkv.sizing import KEY_BYTES, Data, check_packable, shards_needed, sized  # noqa: PLC0415

    if isinstance(data, Weights):
        pairs = sum(data.keys)
        found = Data(pairs, max(0, sum(data.bytes) - pairs * KEY_BYTES))
    else:
        found = Data(data[0], data[0] * data[1])
        check_packable(found)
    shards = counts[-1] if counts else shards_needed(found, memory, replicas, standing.zones)
    return sized(found, shards, replicas, standing.zones, WARM_RATE, standing.weights, machine)


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
