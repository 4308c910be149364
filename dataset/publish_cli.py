"""`ringkv publish`: the command line of publishing, and of waiting until routers serve it."""

import json
import ssl
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from ringkv.client.options import tls
from ringkv.cluster.errors import StartupError
from ringkv.cluster.limits import GATE
from ringkv.dataset.catalog_cli import LOCATION, as_json_option, by_option, told
from ringkv.dataset.command import ended_by_sigterm, ended_soon
from ringkv.dataset.options import cache_dir, on_duplicate, pack_memory
from ringkv.dataset.progress import progress_bar
from ringkv.dataset.publisher import user
from ringkv.process.command import OneLineCommand
from ringkv.process.files import raise_limit
from ringkv.process.forking import end_by_sigterm, fork_server
from ringkv.process.options import SHARE
from ringkv.process.priority import step_aside
from ringkv.process.seconds import SecondsType

if TYPE_CHECKING:
    from ringkv.dataset.catalog import Catalog
    from ringkv.dataset.packing.merge import DuplicatePolicy
    from ringkv.dataset.publish import Order, Published
    from ringkv.dataset.upload import Tell


END_SECONDS: Final = 8.0
"""Seconds that publishing gets after Ctrl-C or SIGTERM to remove what it has begun, also from a store: less than
the 10 s after which Docker kills."""


def _has_both(context: click.Context, argument: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    if len(value) < 2:
        raise click.MissingParameter(ctx=context, param=argument)
    return value


def _on_spark() -> "Callable[[str, Sequence[str], Catalog, Order, Tell], Published]":
    """What publishes on Spark, which is a library that most do without. Raises StartupError."""
    try:
        from ringkv.dataset.packing.spark import publish_at
    except ModuleNotFoundError as error:
        raise StartupError("--spark needs Apache Spark; install it with `pip install 'ringkv[spark]'`") from error
    return publish_at


@click.command(cls=OneLineCommand)
@click.argument("data", type=LOCATION, nargs=-1, required=True, metavar="DATA... CATALOG", callback=_has_both)
@on_duplicate
@pack_memory
@cache_dir
@click.option(
    "--spark",
    metavar="MASTER",
    help="Pack on Apache Spark, as spark://host:7077; text alone, which all its executors must find at the same paths"
    " or addresses. --memory is then for each task, and nothing is kept in --cache.",
)
@click.option(
    "--gate",
    type=SHARE,
    default=f"{GATE:.0%}",
    show_default=True,
    help="Which share of the keys that are served may be gone.",
)
@click.option(
    "--force", is_flag=True, envvar="RINGKV_FORCE", show_envvar=True, help="Publish also if more of them are gone."
)
@click.option(
    "--force-swap",
    is_flag=True,
    envvar="RINGKV_FORCE_SWAP",
    show_envvar=True,
    help="As --force, and let routers serve it whatever they find missing.",
)
@by_option
@click.option(
    "--wait",
    metavar="ROUTER_URL",
    multiple=True,
    help="Wait until this router serves it, or say why it does not. Can be given several times.",
)
@click.option(
    "--if-served",
    metavar="ROUTER_URL",
    multiple=True,
    help="As --wait, but a router that cannot be reached, or reaches no shard, is not waited for: it may start later.",
)
@click.option(
    "--wait-seconds",
    type=SecondsType(0.1),
    default=60.0,
    show_default=True,
    help="How long to wait for each router.",
)
@tls
@as_json_option
def publish(
    *,
    data: tuple[str, ...],
    on_duplicate: "DuplicatePolicy",
    memory: int | None,
    cache: Path | None,
    spark: str | None,
    gate: float,
    force: bool,
    force_swap: bool,
    by: str | None,
    wait: tuple[str, ...],
    if_served: tuple[str, ...],
    wait_seconds: float,
    tls: ssl.SSLContext | None,
    as_json: bool,
) -> None:
    """Let DATA be served by all that follow CATALOG, a folder or an address like s3://bucket/prefix.

    DATA is whatever `ringkv pack` takes, or a dataset that it made. It is packed, compared with what is served, so that
    a truncated file is refused, uploaded, and read back; then it is the version that is served, from one moment to the
    next. If anything fails, or is killed, what was served stays.

    \b
    ringkv publish example.data /srv/example
    ringkv publish 'part-*.parquet' s3://bucket/example --wait http://router:8000
    ringkv publish --spark spark://host:7077 s3://bucket/text s3://bucket/example
    """
    from ringkv.dataset.packing.inflight import PRELOAD

    step_aside()  # before anything is begun, so that all of it does
    end_by_sigterm()
    fork_server(*PRELOAD)

    from ringkv.dataset.awaited import wait_until_served
    from ringkv.dataset.catalog import Catalog
    from ringkv.dataset.packing.memory import budget_of
    from ringkv.dataset.publish import Order
    from ringkv.dataset.publish import publish as publish_data

    raise_limit()
    *sources, location = data
    catalog = Catalog.at(location)
    order = Order(by or user(), on_duplicate, budget_of(memory), cache, gate, force, force_swap)
    tell = (lambda _line: None) if as_json else click.echo
    with ended_by_sigterm(), ended_soon(END_SECONDS):
        if spark is not None:
            done = _on_spark()(spark, sources, catalog, order, tell)
        else:
            with progress_bar(f"publishing to {catalog.location}") as progress:
                done = publish_data([Path(source) for source in sources], catalog, order, tell, progress)
        if done.changed:
            tell(f"published: {told(catalog.location, done.version)}")
        else:
            tell(f"unchanged: {told(catalog.location, done.version)}, and has this dataset already")
        waited = [(url, False) for url in wait] + [(url, True) for url in if_served]
        serving = {
            url: wait_until_served(url, catalog, done.version, wait_seconds, if_up=if_up, tls=tls)
            for url, if_up in waited
        }
    for url, serves in serving.items():
        tell(f"{'served' if serves else 'not waited for'}: {url}")
    if as_json:
        click.echo(json.dumps({"catalog": catalog.location, **asdict(done), "served": serving}))
