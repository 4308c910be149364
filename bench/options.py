"""What the commands of `python -m bench` are asked for in the same words."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

import click

seconds_option: Final = click.option(
    "--seconds", type=click.FloatRange(1), default=4, show_default=True, envvar="SECONDS", help="Of each load."
)


class Asked(NamedTuple):
    """What all of them are told. Paths are absolute."""

    rounds: int
    patience: float
    work: Path
    docs: Path
    mixed: bool


def common_options(rounds: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Of a command, which gets them as its first argument. So many rounds are the default."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def told(*, rounds: int, patience: float, work: Path, docs: Path, mixed: bool, **own: Any) -> None:
            command(Asked(rounds, patience, work.resolve(), docs.resolve(), mixed), **own)

        return functools.reduce(lambda function, option: option(function), reversed(_options(rounds)), told)

    return decorate


def _options(rounds: int) -> list[Callable[[Callable[..., None]], Callable[..., None]]]:
    return [
        click.option("--rounds", type=click.IntRange(1), default=rounds, show_default=True, envvar="ROUNDS"),
        click.option(
            "--patience",
            type=click.FloatRange(0),
            default=300,
            show_default=True,
            help="Seconds that may be waited in all until nobody else uses the machine.",
        ),
        click.option(
            "--work",
            type=click.Path(path_type=Path),
            default=Path("build/bench"),
            show_default=True,
            help="Data and results.",
        ),
        click.option(
            "--docs",
            type=click.Path(path_type=Path),
            default=Path("docs"),
            show_default=True,
            help="Where the report goes.",
        ),
        click.option(
            "--mixed",
            is_flag=True,
            help="Let the report have figures of other commits and machines too; each part says its own.",
        ),
    ]
