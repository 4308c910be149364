"""`ringkv stats`: a running cluster in the terminal, as its router tells it, looked at again and again."""

import json
import ssl
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from typing import Final

import click
from rich.console import Console, Group, RenderableType
from rich.filesize import decimal
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ringkv.activity import OTHERS, RESULTS, Activity
from ringkv.client.cli import tls
from ringkv.client.get import (
    DEFAULT_URL,
    INTERRUPTED,
    OUTPUT_CLOSED,
    URL_VARIABLE,
    Client,
    ClientError,
    UnexpectedAnswer,
    forget_output,
    one_line,
)
from ringkv.process.options import OneLineCommand
from ringkv.process.words import counted
from ringkv.router.figures.values import Figures
from ringkv.router.lookup.durations import BOUNDS

STATES: Final = {"serving": "green", "joining": "yellow", "draining": "yellow", "lost": "red"}
TROUBLE: Final = {"unavailable", "refused"}
PLAIN_WIDTH: Final = 120
"""Columns of the output when it is not written to a terminal."""


@click.command(cls=OneLineCommand)
@click.option(
    "--url", envvar=URL_VARIABLE, show_envvar=True, default=DEFAULT_URL, show_default=True, help="The router."
)
@tls
@click.option(
    "--interval",
    type=click.FloatRange(0.1, 3600),
    default=1.0,
    show_default=True,
    help="Seconds between two looks; rates and quantiles are those of the time between them.",
)
@click.option("--once", is_flag=True, help="Print one account after one interval, as when no terminal is there.")
@click.option("--json", "as_json", is_flag=True, help="Print that account as JSON; times in seconds, rates a second.")
def stats(*, url: str, tls: ssl.SSLContext | None, interval: float, once: bool, as_json: bool) -> None:
    """Show the state of a running cluster, live: its dataset, its shards, requests a second, p50 and p99.

    Ctrl-C ends it. p50 and p99 are measured in the router, from a request's arrival to its answer.

    \b
    ringkv stats
    ringkv stats --json | jq .p99
    """  # noqa: D301 - click takes backslash-b for "leave this paragraph as it is"
    console = Console(highlight=False)
    try:
        with Client(url, tls=tls) as client:
            activities = _activities(client, url, interval)
            if as_json:
                click.echo(json.dumps(asdict(next(activities))))
            elif once or not console.is_terminal:
                plain = Console(highlight=False, width=None if console.is_terminal else PLAIN_WIDTH)
                plain.print(account(next(activities), url))
            else:
                _show(console, client, url, interval)
    except ClientError as error:
        raise click.ClickException(str(error)) from error
    except BrokenPipeError:
        forget_output()
        sys.exit(OUTPUT_CLOSED)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _activities(client: Client, url: str, interval: float) -> Iterator[Activity]:
    """What went on in one interval after the other. Raises ClientError."""
    before, then = _look(client, url), time.monotonic()
    while True:
        time.sleep(interval)
        after, now = _look(client, url), time.monotonic()
        yield Activity.between(before, after, now - then)
        before, then = after, now


def _look(client: Client, url: str) -> Figures:
    try:
        found = json.loads(client.page("stats"))
        if tuple(found.pop("bounds")) == BOUNDS:
            return Figures.parse(found)
    except (KeyError, TypeError, ValueError, AttributeError):
        pass
    raise UnexpectedAnswer(f"{url} does not tell its figures as a ringkv router of this version does")


def _show(console: Console, client: Client, url: str, interval: float) -> None:
    """Draw until Ctrl-C. Only the first look must succeed: a router that goes may come back."""
    activities = _activities(client, url, interval)
    with (
        suppress(KeyboardInterrupt),
        Live(Text(f"looking at {url} …"), console=console, screen=True, auto_refresh=False) as live,
    ):
        live.update(account(next(activities), url), refresh=True)
        while True:
            try:
                live.update(account(next(activities), url), refresh=True)
            except ClientError as error:
                live.update(Text(one_line(str(error)), "bold red"), refresh=True)
                time.sleep(interval)
                activities = _activities(client, url, interval)


def account(activity: Activity, url: str) -> RenderableType:
    """All of it, for people."""
    return Group(_state(activity, url), Text(), _rates(activity), Text(), _shards(activity), *_kept_out(activity))


def _state(activity: Activity, url: str) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column()
    workers = f", {activity.workers} workers" if activity.workers > 1 else ""
    table.add_row("router", Text(f"{one_line(url)}, ringkv {activity.version}, up {_age(activity.uptime)}{workers}"))
    if activity.dataset is None:
        table.add_row("dataset", Text("none yet: no shard has been reached", "bold red"))
    else:
        table.add_row("dataset", f"{activity.dataset}: {activity.keys:,} keys, {decimal(activity.bytes)}")
        replicas = counted(activity.replicas or 0, "replica")
        table.add_row("topology", f"epoch {activity.epoch}, {activity.partitions:,} partitions, {replicas}")
    waiting = f", {activity.waiting:,} wait for a shard" if activity.waiting else ""
    table.add_row(
        "now", f"{activity.in_flight:,} in flight{waiting}, event loop {_milliseconds(activity.loop_lag)} late"
    )
    return table


def _rates(activity: Activity) -> Table:
    table = Table(box=None, pad_edge=False)
    columns = ("requests/s", *RESULTS, *OTHERS, "p50", "p99")
    for name in columns:
        table.add_column(name, justify="right", header_style="dim", style="bold" if name == "requests/s" else "")
    rates = [
        Text(_rate(activity.rates[name]), "bold red" if name in TROUBLE and activity.rates[name] else "")
        for name in (*RESULTS, *OTHERS)
    ]
    table.add_row(_rate(activity.requests), *rates, _milliseconds(activity.p50), _milliseconds(activity.p99))
    return table


def _shards(activity: Activity) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("shard", "state"):
        table.add_column(name, header_style="dim", no_wrap=True)
    for name in ("partitions", "keys", "bytes", "warm", "in flight", "requests/s", "p50", "p99"):
        table.add_column(name, justify="right", header_style="dim", no_wrap=True)
    for shard in activity.shards:
        table.add_row(
            Text(one_line(shard.name or shard.address)),
            Text(shard.state, STATES.get(shard.state, "")),
            f"{shard.partitions:,}",
            f"{shard.keys:,}",
            decimal(shard.bytes),
            f"{100 * shard.checked // shard.bytes} %" if shard.bytes else "-",
            f"{shard.in_flight:,}",
            _rate(shard.requests),
            _milliseconds(shard.p50),
            _milliseconds(shard.p99),
        )
    return table


def _kept_out(activity: Activity) -> Iterator[Text]:
    for address, reason in activity.kept_out.items():
        yield Text(one_line(f"kept out: {address}: {reason}"), "yellow")


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or not value else f"{value:.1f}"


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{1000 * seconds:,.2f} ms"


def _age(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = ((days, "d"), (hours, "h"), (minutes, "min"), (rest, "s"))
    shown = [f"{value} {unit}" for value, unit in parts if value]
    return " ".join(shown[:2]) or "0 s"
