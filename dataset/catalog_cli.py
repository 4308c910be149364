"""`ringkv versions`, `rollback`, `prune` and `diff`: the command lines of catalogs."""

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from ringkv.cluster.errors import CatalogError
from ringkv.cluster.lease import MAX_BY
from ringkv.dataset.command import ended_soon
from ringkv.dataset.publisher import user
from ringkv.process.command import OneLineCommand
from ringkv.process.files import raise_limit
from ringkv.process.options import DURATION
from ringkv.process.words import counted

if TYPE_CHECKING:
    from ringkv.dataset.catalog import Version
    from ringkv.dataset.content import Content
    from ringkv.dataset.diff import Keys
    from ringkv.dataset.versions import Listed

LOCATION: Final = click.Path(readable=False)
"""A path, or the address of a store. Whether it can be read is found out, and reported, by what opens it."""

KEEP: Final = 3
MIN_AGE: Final = "1h"
"""A publisher writes a segment, the largest object, in less, and a router lets go of an old version in less."""


class ByType(click.ParamType[str]):
    """The name of whoever publishes: one line, which everybody who looks at the versions is shown."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not (value and value.isprintable() and len(value) <= MAX_BY):
            self.fail(f"not a name: {value!a} (want a line of at most {MAX_BY} characters)", param, ctx)
        return str(value)


by_option = click.option(
    "--by",
    type=ByType(),
    envvar="RINGKV_BY",
    show_envvar=True,
    help="Who does it, as all who look at the versions are told.  [default: user@host]",
)

as_json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")


@click.command(cls=OneLineCommand)
@click.argument("catalog", type=LOCATION)
@as_json_option
def versions(*, catalog: str, as_json: bool) -> None:
    """Tell which datasets CATALOG has, which of them is served, and when others were.

    \b
    ringkv versions /srv/example
    """
    from ringkv.dataset.catalog import Catalog
    from ringkv.dataset.versions import listed

    opened = Catalog.at(catalog)
    with ended_soon():
        found = listed(opened)
    if as_json:
        click.echo(json.dumps({"catalog": opened.location, "versions": [asdict(entry) for entry in found]}))
        return
    if not found:
        raise CatalogError(f"{opened.location}: nothing was published yet; `ringkv publish DATA` does that")
    for entry in found:
        click.echo(_line(entry))


@click.command(cls=OneLineCommand)
@click.argument("catalog", type=LOCATION)
@click.argument("id", required=False)
@by_option
@as_json_option
def rollback(*, catalog: str, id: str | None, by: str | None, as_json: bool) -> None:  # noqa: A002 - as users see it
    """Let the dataset that CATALOG served before be served again, or the one whose id begins with ID.

    It must be whole. Routers serve it whatever keys they find missing: whoever goes back means it.

    \b
    ringkv rollback /srv/example
    ringkv rollback /srv/example 3f2a
    """
    from ringkv.dataset.catalog import Catalog
    from ringkv.dataset.versions import rollback as roll_back

    raise_limit()
    opened = Catalog.at(catalog)
    with ended_soon():
        version, changed = roll_back(opened, id, by or user())
    if as_json:
        click.echo(json.dumps({"catalog": opened.location, "version": asdict(version), "changed": changed}))
    else:
        said = "rolled back" if changed else "unchanged"
        click.echo(f"{said}: {told(opened.location, version)}, which is dataset {version.dataset}")


@click.command(cls=OneLineCommand)
@click.argument("catalog", type=LOCATION)
@click.option(
    "--keep", type=click.IntRange(2), default=KEEP, show_default=True, help="How many datasets stay at least."
)
@click.option(
    "--min-age",
    type=DURATION,
    default=MIN_AGE,
    show_default=True,
    help="What is younger, or was served since then, stays: somebody may still read it.",
)
@click.option("--dry-run", is_flag=True, help="Tell what would go, and remove nothing.")
@as_json_option
def prune(*, catalog: str, keep: int, min_age: float, dry_run: bool, as_json: bool) -> None:
    """Remove old datasets from CATALOG, and what killed publishers have left there.

    What is served stays, what was served before it, and on this machine what a process has open.

    \b
    ringkv prune /srv/example --keep 5
    """
    from rich.filesize import decimal

    from ringkv.dataset.catalog import Catalog
    from ringkv.dataset.prune import prune as prune_catalog

    opened = Catalog.at(catalog)
    with ended_soon():
        removed = prune_catalog(opened, keep, min_age, dry_run=dry_run)
    if as_json:
        found = [asdict(entry) for entry in removed]
        click.echo(json.dumps({"catalog": opened.location, "dry_run": dry_run, "removed": found}))
        return
    for entry in removed:
        what = "" if entry.whole else ", which nobody has finished"
        click.echo(f"{'would remove' if dry_run else 'removed'}: {decimal(entry.bytes)} of {entry.folder}{what}")
    if not removed:
        click.echo("nothing to remove")


@click.command(cls=OneLineCommand)
@click.argument("old", metavar="A", type=LOCATION)
@click.argument("new", metavar="B", type=LOCATION)
@click.option("--limit", type=click.IntRange(0), default=10, show_default=True, help="How many keys to name of a kind.")
@as_json_option
def diff(*, old: str, new: str, limit: int, as_json: bool) -> None:
    """Compare two datasets: which keys B has that A has not (+), has not (-), and has with another value (~).

    A and B are datasets, catalogs, which stand for what they serve, or CATALOG@ID.

    \b
    ringkv diff example /srv/example
    ringkv diff s3://bucket/example@3f2a s3://bucket/example
    """
    from ringkv.dataset.diff import difference

    raise_limit()
    with ended_soon(), _content(old) as before, _content(new) as after:
        found = difference(before, after, limit)
        same = before.manifest.keys - found.removed.count - found.changed.count
    kinds = {"added": found.added, "removed": found.removed, "changed": found.changed}
    if as_json:
        counts = {name: keys.count for name, keys in kinds.items()}
        click.echo(json.dumps({**counts, "same": same, "first": {name: keys.first for name, keys in kinds.items()}}))
        return
    click.echo(f"{', '.join(f'{keys.count:,} {name}' for name, keys in kinds.items())}, {same:,} the same")
    for mark, keys in zip("+-~", kinds.values(), strict=True):
        _name(mark, keys)


def _name(mark: str, keys: "Keys") -> None:
    for key in keys.first:
        click.echo(f"{mark} {key}")
    if 0 < len(keys.first) < keys.count:
        click.echo(f"{mark} … {keys.count - len(keys.first):,} more")


@contextmanager
def _content(location: str) -> "Iterator[Content]":
    """What is meant by a dataset, a catalog or CATALOG@ID. Raises InvalidDataset, CatalogError, StoreError."""
    from ringkv.dataset.catalog import Catalog, is_catalog
    from ringkv.dataset.content import opened, opened_in
    from ringkv.dataset.objects import Objects, is_url
    from ringkv.dataset.versions import named

    place, at, wanted = location.rpartition("@")
    with ExitStack() as stack:
        if at and not os.path.lexists(location):
            catalog = Catalog.at(place)
            yield stack.enter_context(opened_in(catalog.objects, named(catalog, wanted)))
        elif is_catalog(location) and (current := Catalog.at(location).current()):
            yield stack.enter_context(opened_in(Objects.at(location), current.version.folder))
        elif is_url(location):
            yield stack.enter_context(opened_in(Objects.at(location), ""))
        else:
            yield stack.enter_context(opened(Path(location)))


def told(location: str, version: "Version") -> str:
    """What a catalog serves, in a line."""
    return f"{location} serves version {version.serial}, by {version.by} at {version.at}"


def _line(entry: "Listed") -> str:
    from rich.filesize import decimal

    when = "never served"
    if entry.serial:
        end = f"until {entry.until}" if entry.until else "and is served"
        when = f"version {entry.serial}, by {entry.by}, since {entry.since} {end}"
    return f"{entry.dataset}  {counted(entry.keys, 'key'):>16}  {decimal(entry.bytes):>10}  {when}"
