"""The account of a cluster for people, once or live. The command loads it while it waits for the second look."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.filesize import decimal
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ringkv.activity import OTHERS, Activity
from ringkv.client.get import ClientError, one_line
from ringkv.looks import Looks
from ringkv.output import Output
from ringkv.process.words import counted
from ringkv.router.figures.values import RESULTS

STATES: Final = {"serving": "green", "joining": "yellow", "draining": "yellow", "lost": "red"}
TROUBLE: Final = {"unavailable", "refused"}
PLAIN_WIDTH: Final = 120
"""Columns of the output when it is not written to a terminal."""


def tell(looks: Looks, url: str, *, once: bool) -> None:
    """Print one account, or at a terminal one after the other. Raises ClientError."""
    console = Output()
    if once or not console.is_terminal:
        plain = Output(None if console.is_terminal else PLAIN_WIDTH)
        plain.print(account(looks.next(), url))
    else:
        _show(console, looks, url)


def _show(console: Console, looks: Looks, url: str) -> None:
    """Draw until Ctrl-C. Only the first look must succeed: a router that goes later may come back."""
    with (
        suppress(KeyboardInterrupt),
        Live(Text(f"looking at {url} …"), console=console, screen=True, auto_refresh=False) as live,
    ):
        live.update(account(looks.next(), url), refresh=True)
        while True:
            try:
                shown = account(looks.next(), url)
            except ClientError as error:
                shown = Text(one_line(str(error)), "bold red")
            live.update(shown, refresh=True)


def account(activity: Activity, url: str) -> RenderableType:
    """The whole account."""
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
    if activity.zone:
        table.add_row(
            "zone", Text(f"{one_line(activity.zone)}{_percent(activity.zone_share, 'of its reads from shards there')}")
        )
    hits = _percent(activity.hot_share, f"of single keys hit them, {_rate(activity.rates['hits'])}/s")
    table.add_row(
        "hot", f"{counted(activity.hot_keys, 'value')} kept in the router, {decimal(activity.hot_bytes)}{hits}"
    )
    for partition, names in activity.extra_owners.items():
        table.add_row("", Text(one_line(f"partition {partition} is also owned by {' and '.join(names)}")))
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
    zones = any(shard.zone for shard in activity.shards)
    for name in ("shard", "state", *(["zone"] if zones else [])):
        table.add_column(name, header_style="dim", no_wrap=True)
    for name in ("partitions", "keys", "bytes", "warm", "in flight", "requests/s", "p50", "p99"):
        table.add_column(name, justify="right", header_style="dim", no_wrap=True)
    for shard in activity.shards:
        table.add_row(
            Text(one_line(shard.name or shard.address)),
            Text(shard.state, STATES.get(shard.state, "")),
            *([Text(one_line(shard.zone or "-"))] if zones else []),
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


def _percent(share: float | None, what: str) -> str:
    return "" if share is None else f"; {100 * share:.1f} % {what}"


def _age(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = ((days, "d"), (hours, "h"), (minutes, "min"), (rest, "s"))
    shown = [f"{value} {unit}" for value, unit in parts if value]
    return " ".join(shown[:2]) or "0 s"
