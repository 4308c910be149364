"""`ringkv router` and `python -m router`: the router's command line."""

from functools import partial

import click

from cluster.address import Address, bind
from cluster.cli import OneLineCommand, listen, log_format, log_level, secret, start_logging
from cluster.process import run
from router.discovery import Discovery
from router.server import RouterSettings, serve


@click.command(cls=OneLineCommand)
@click.option(
    "--shards",
    required=True,
    envvar="RINGKV_SHARDS",
    show_envvar=True,
    help="Where shards are: host:port,host:port or unix:/path, or dns://host:port, asked again every second.",
)
@listen("127.0.0.1:8000", "HTTP")
@click.option("--replicas", type=click.IntRange(1), default=1, show_default=True, help="Owners of each key.")
@secret
@log_level
@log_format
def router(shards: str, listen: Address, replicas: int, secret: str | None, log_level: str, log_format: str) -> None:
    """Answer GET /KEY over HTTP by asking the shard that owns the key.

    Shards that come and go are followed; no request fails while a shard that owns its key can be reached.

    \b
    python -m router --shards 127.0.0.1:7379,127.0.0.1:7380
    curl localhost:8000/f8a24bb8-eff8-41dc-929b-10b4c3e49e05
    """
    start_logging(log_level, log_format)
    run(partial(serve, RouterSettings(Discovery.parse(shards), replicas, secret=secret), bind(listen)))
