"""`ringkv router` and `python -m router`: the router's command line."""

from functools import partial

import click

from cluster.address import Address
from cluster.cli import ADDRESS, LogStyle, OneLineCommand, listen, log_format, log_level, secret, start_logging, workers
from cluster.process import run
from router.discovery import Discovery
from router.server import RouterSettings, serve
from router.workers import bind_workers, serve_workers


@click.command(cls=OneLineCommand)
@click.option(
    "--shards",
    required=True,
    envvar="RINGKV_SHARDS",
    show_envvar=True,
    help="Where shards are: host:port,host:port or unix:/path, or dns://host:port, asked again every second.",
)
@listen("127.0.0.1:8000", "HTTP")
@click.option(
    "--redis-listen",
    type=ADDRESS,
    envvar="RINGKV_REDIS_LISTEN",
    show_envvar=True,
    help="Where to speak the Redis protocol: host:port or unix:/path.  [default: nowhere]",
)
@click.option("--replicas", type=click.IntRange(1), default=1, show_default=True, help="Owners of each key.")
@workers
@secret
@log_level
@log_format
def router(
    shards: str,
    listen: Address,
    redis_listen: Address | None,
    replicas: int,
    workers: int,
    secret: str | None,
    log_level: str,
    log_format: str,
) -> None:
    """Answer GET /KEY over HTTP by asking the shard that owns the key.

    Shards that come and go are followed; no request fails while a shard that owns its key can be reached.

    \b
    python -m router --shards 127.0.0.1:7379,127.0.0.1:7380
    curl localhost:8000/f8a24bb8-eff8-41dc-929b-10b4c3e49e05
    """
    log_style = LogStyle(log_level, log_format)
    start_logging(log_style)
    settings = RouterSettings(Discovery.parse(shards), replicas, secret=secret)
    processes = bind_workers(workers, listen, redis_listen)
    if workers == 1:
        run(partial(serve, settings, processes[0]))
    else:
        run(partial(serve_workers, settings, processes, log_style))
