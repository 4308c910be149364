"""`ringkv explain`: the way of one key through the cluster, step by step, as a router tells it."""

import json
import ssl
import sys
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ringkv.client.cli import tls, token_file
from ringkv.client.files import find_token
from ringkv.client.get import (
    DEFAULT_URL,
    FAILED,
    FOUND,
    INTERRUPTED,
    MISSING,
    OUTPUT_CLOSED,
    URL_VARIABLE,
    Client,
    ClientError,
    UnexpectedAnswer,
    canonical,
    forget_output,
    one_line,
)
from ringkv.process.options import OneLineCommand


@click.command(cls=OneLineCommand)
@click.argument("key")
@click.option(
    "--url", envvar=URL_VARIABLE, show_envvar=True, default=DEFAULT_URL, show_default=True, help="The router."
)
@token_file
@tls
@click.option("--json", "as_json", is_flag=True, help="Print what the router says, as it is.")
def explain(*, key: str, url: str, token_file: str | None, tls: ssl.SSLContext | None, as_json: bool) -> None:
    """Show the way of KEY: its position, partition, owners, place in the dataset, and the time of each step.

    Exit code 0: the key was found. 1: it is not in the dataset. 2: anything else; one line on stderr says what.

    \b
    ringkv explain f8a24bb8-eff8-41dc-929b-10b4c3e49e05
    """  # noqa: D301 - click takes backslash-b for "leave this paragraph as it is"
    try:
        with Client(url, token=find_token(token_file), tls=tls) as client:
            body = client.page(f"explain/{canonical(key)}")
        told, account = _read(body, url)
        sys.stdout.write(f"{body.decode()}\n" if as_json else account)
        sys.stdout.flush()
    except ClientError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(FAILED)
    except BrokenPipeError:
        forget_output()
        sys.exit(OUTPUT_CLOSED)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    sys.exit(FOUND if told["found"] else MISSING)


def _read(body: bytes, url: str) -> tuple[dict[str, Any], str]:
    """What a router says of a key, and the same for people. Raises UnexpectedAnswer."""
    try:
        told = json.loads(body)
        return told, _rendered(_account(told))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UnexpectedAnswer(f"{url} does not explain keys as a ringkv router does") from error


def _account(told: dict[str, Any]) -> Table:
    """Three columns: the step, how long it took, what it led to."""
    table = Table.grid(padding=(0, 3))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(justify="right", style="cyan", no_wrap=True)
    table.add_column(no_wrap=True)
    took = told["microseconds"]

    def row(step: str, what: str, microseconds: float | None = None, *, style: str = "") -> None:
        time = "" if microseconds is None else f"{microseconds:,.1f} µs"
        table.add_row(step, time, Text(one_line(what), style))

    row("key", told["key"], took["parse"])
    row("position", f"{int(told['position'])}, {100 * told['fraction']:.4f} % of the ring", took["position"])
    row("partition", f"{told['partition']:,} of {told['partitions']:,}, slot {told['slot']:,}", took["route"])
    for number, owner in enumerate(told["owners"], start=1):
        state = f"{owner['in_flight']:,} requests under way" if owner["open"] else "cannot be reached"
        zone = f" in {owner['zone']}" if owner["zone"] else ""
        row(f"owner {number}", f"{owner['name']} at {owner['address']}{zone}, {state}")
    row("asked", told["shard"], took["round_trip"], style="bold")
    for step, microseconds in took["shard"].items():
        row("", f"of it: {step}", microseconds)
    if told["found"]:
        row("found", f"{told['size']:,} bytes, rank {told['rank']:,} in block {told['block']:,}", style="bold green")
        row("place", f"byte {told['offset']:,} of {told['file']}")
    else:
        row("found", "no such key in the dataset", style="bold red")
        row("searched", f"block {told['block']:,} of {told['file']}")
    row("dataset", f"{told['dataset']}, epoch {told['epoch']}")
    return table


def _rendered(table: Table) -> str:
    """The table at its full width: a path that is cut or wrapped could not be copied."""
    console = Console(highlight=False)
    wide = console.options.update(max_width=1 << 16)
    console.width = max(1, console.measure(table, options=wide).maximum)
    with console.capture() as captured:
        console.print(table)
    return "\n".join(line.rstrip() for line in captured.get().splitlines()) + "\n"
