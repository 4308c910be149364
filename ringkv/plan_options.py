"""The types of the options of `ringkv plan`: numbers of shards, partitions and pairs, weights and names."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click

from ringkv.cluster.errors import StartupError
from ringkv.cluster.limits import MAX_SHARDS, MIN_BLOCKS
from ringkv.cluster.place import weight_of
from ringkv.cluster.position import SLOTS
from ringkv.shard.name import checked

MAX_PAIRS: Final = 10**12
"""More pairs than this are taken for a typing mistake."""


class Counts(click.ParamType[tuple[int, ...]]):
    """`3..8`, `8..3` or `5`: numbers of shards, as they follow each other."""

    name = "range"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        match = re.fullmatch(r"([0-9]{1,6})(?:\.\.([0-9]{1,6}))?", value)
        if not match:
            self.fail(f"{value!r} is not a number of shards; want 3..8, 8..3 or 5", param, ctx)
        first, last = int(match[1]), int(match[2] or match[1])
        if not (1 <= first <= MAX_SHARDS and 1 <= last <= MAX_SHARDS):
            self.fail(f"{value!r} is out of range; a plan is for 1 to {MAX_SHARDS} shards", param, ctx)
        return tuple(range(first, last + 1) if first <= last else range(first, last - 1, -1))


class Pairs(click.ParamType[int]):
    """`1e10`, `10M`, `2.5G` or `1000000`; K, M, G and T are powers of 1,000."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        match = re.fullmatch(r"([0-9]{1,13}(?:\.[0-9]{1,6})?)(?:e([0-9]{1,2})|([kmgt]))?", str(value).lower())
        number = 0.0
        if match:
            number = float(match[1]) * 10 ** (int(match[2] or 0) + 3 * " kmgt".index(match[3] or " "))
        if not 1 <= number <= MAX_PAIRS:
            self.fail(
                f"{value!r} is not a number of pairs from 1 to {MAX_PAIRS:.0e}; want 1e10, 10M or 1000", param, ctx
            )
        return round(number)


class Partitions(click.ParamType[int]):
    """The number of partitions of a packed dataset."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        text = str(value)
        number = int(text) if re.fullmatch("[0-9]{1,6}", text) else 0
        if not MIN_BLOCKS <= number <= SLOTS or number & (number - 1):
            self.fail(f"{text!r} is not a power of two from {MIN_BLOCKS} to {SLOTS}", param, ctx)
        return number


class WeightsInTurn(click.ParamType[tuple[float, ...]]):
    """`2,1,1`: the weights of the first shards, which are repeated for the others."""

    name = "numbers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        try:
            return value if isinstance(value, tuple) else tuple(map(weight_of, str(value).split(",")))
        except ValueError as error:
            self.fail(str(error), param, ctx)


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


def check(  # noqa: PLR0913, PLR0917 - as many as there are options to go together
    data: Sequence[Path],
    pairs: int | None,
    partitions: int | None,
    shards: Sequence[int] | None,
    memory: int | None,
    weights: Sequence[float],
    *,
    here: bool,
) -> None:
    """Raises click's errors for options that do not go together."""
    if data and partitions is not None:
        raise click.ClickException("--partitions is for a plan without DATA, which has its own number; leave one out")
    if data and pairs is not None:
        raise click.ClickException("--pairs is for a plan without DATA, which has its own; leave one out")
    if pairs is not None and partitions is not None:
        raise click.ClickException("--partitions follows from --pairs; leave one out")
    if memory is not None and not (data or pairs):
        raise click.ClickException("--memory tells how many shards hold some data; give DATA or --pairs")
    if here and not (pairs or memory):
        raise click.ClickException(
            "--here is about times, which a plan with --pairs or --memory tells; give one of them"
        )
    if memory is not None and len(set(weights)) > 1:
        raise click.ClickException("--memory is that of machines which are alike; leave --weights out, or say --shards")
    if shards is None and memory is None:
        raise click.UsageError("Missing option '--shards', or --memory with DATA or --pairs.")
