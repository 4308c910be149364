"""`ringkv explain`: the way of one key through the cluster, step by step, as a router tells it."""

import json
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from ringkv.client.files import find_token
from ringkv.client.get import (
    FAILED,
    FOUND,
    INTERRUPTED,
    MISSING,
    OUTPUT_CLOSED,
    Client,
    ClientError,
    UnexpectedAnswer,
    canonical,
    forget_output,
    one_line,
)
from ringkv.client.options import tls, token_file, url
from ringkv.process.command import OneLineCommand

if TYPE_CHECKING:
    import ssl


@click.command(cls=OneLineCommand)
@click.argument("key")
@url
@token_file
@tls
@click.option("--json", "as_json", is_flag=True, help="Print what the router says, as it is.")
def explain(*, key: str, url: str, token_file: str | None, tls: "ssl.SSLContext | None", as_json: bool) -> None:
    """Show the way of KEY: its position, partition, owners, place in the dataset, and the time of each step.

    Exit code 0: the key was found. 1: it is not in the dataset. 2: anything else; one line on stderr says what.

    \b
    ringkv explain f8a24bb8-eff8-41dc-929b-10b4c3e49e05
    """  # noqa: D301 - click takes backslash-b for "leave this paragraph as it is"
    try:
        with Client(url, token=find_token(token_file), tls=tls) as client:
            body = client.page(f"explain/{canonical(key)}")
        told, account = _read(body, url)
        # Colours are for terminals; who sets this variable wants none there either: https://no-color.org
        click.echo(body.decode() if as_json else account, color=False if os.environ.get("NO_COLOR") else None)
    except ClientError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(FAILED)
    except OSError as error:
        forget_output()
        if isinstance(error, BrokenPipeError):
            sys.exit(OUTPUT_CLOSED)
        click.echo(f"Error: standard output: {error.strerror or error}", err=True)
        sys.exit(FAILED)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    sys.exit(FOUND if told["found"] else MISSING)


class _Step(NamedTuple):
    """A line: what was done, what it led to, a style of click's, and how many microseconds it took."""

    name: str
    what: str
    took: float | None = None
    style: dict[str, Any] | None = None


def _read(body: bytes, url: str) -> tuple[dict[str, Any], str]:
    """A router's answer to `GET /explain/<key>`, and the same for people. Raises UnexpectedAnswer."""
    try:
        told = json.loads(body)
        return told, _aligned(list(_steps(told)))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise UnexpectedAnswer(f"{url} does not explain keys as a ringkv router does") from error


def _steps(told: dict[str, Any]) -> Iterator[_Step]:
    took = told["microseconds"]
    yield _Step("key", told["key"], took["parse"])
    place = f"{int(told['position'])}, {100 * told['fraction']:.4f} % of the ring"
    yield _Step("position", place, took["position"])
    yield _Step("partition", f"{told['partition']:,} of {told['partitions']:,}, slot {told['slot']:,}", took["route"])
    for number, owner in enumerate(told["owners"], start=1):
        state = f"{owner['in_flight']:,} requests under way" if owner["open"] else "cannot be reached"
        zone = f" in {owner['zone']}" if owner["zone"] else ""
        yield _Step(f"owner {number}", f"{owner['name']} at {owner['address']}{zone}, {state}")
    yield _Step("asked", told["shard"], took["round_trip"], {"bold": True})
    for step, microseconds in took["shard"].items():
        yield _Step("", f"of it: {step}", microseconds)
    if told["found"]:
        where = f"{told['size']:,} bytes, rank {told['rank']:,} in block {told['block']:,}"
        yield _Step("found", where, style={"bold": True, "fg": "green"})
        yield _Step("place", f"byte {told['offset']:,} of {told['file']}")
    else:
        yield _Step("found", "no such key in the dataset", style={"bold": True, "fg": "red"})
        yield _Step("searched", f"block {told['block']:,} of {told['file']}")
    yield _Step("dataset", f"{told['dataset']}, epoch {told['epoch']}")


def _aligned(steps: list[_Step]) -> str:
    """The steps in three columns at full width: a path that was cut or wrapped could not be copied."""
    times = ["" if step.took is None else f"{step.took:,.1f} µs" for step in steps]
    name_width, time_width = max(len(step.name) for step in steps), max(map(len, times))
    return "\n".join(
        f"{click.style(f'{step.name:{name_width}}', dim=True)}   {click.style(f'{time:>{time_width}}', fg='cyan')}   "
        f"{click.style(one_line(step.what), **(step.style or {}))}"
        for step, time in zip(steps, times, strict=True)
    )
