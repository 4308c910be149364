"""Options and arguments of the command lines about data, which several of them share."""

from pathlib import Path
from typing import Any, Final

import click

from ringkv.process.options import SIZE

DATA: Final = click.Path(path_type=Path, readable=False)
"""The path of a data file as an argument. Whether it can be read is found out, and reported, by what opens it."""


class LocationType(click.Path):
    """A path, or the address of a store, as s3://bucket/prefix, which stays the text that it is."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if isinstance(value, str) and "://" in value else super().convert(value, param, ctx)


LOCATION: Final = LocationType(path_type=Path, readable=False)

cache_dir = click.option(
    "--cache",
    type=click.Path(path_type=Path),
    envvar="RINGKV_CACHE",
    show_envvar=True,
    help="Where datasets are kept.  [default: the user's cache folder]",
)

on_duplicate = click.option(
    "--on-duplicate",
    type=click.Choice(["error", "first", "last"]),
    default="error",
    show_default=True,
    help="Which pair of a key that stands several times to take.",
)

pack_memory = click.option(
    "--memory",
    type=SIZE,
    envvar="RINGKV_PACK_MEMORY",
    show_envvar=True,
    help="How much memory the data may take meanwhile, as 512M or 4G.  [default: a quarter of what is available]",
)
