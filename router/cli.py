"""`ringkv router`: the router's command line."""

from dataclasses import replace
from functools import partial

import click

from ringkv.process.address import Address
from ringkv.process.connections import ConnectionLimits
from ringkv.process.logs import LogStyle
from ringkv.process.options import (
    ADDRESS,
    SHARE,
    OneLineCommand,
    connection_limits,
    cors,
    listen,
    log_format,
    log_level,
    replicas,
    secret,
    workers,
)
from ringkv.process.start import start


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
@replicas
@click.option(
    "--gate",
    type=SHARE,
    default="10%",
    envvar="RINGKV_GATE",
    show_envvar=True,
    show_default=True,
    help="Keep out a version that lacks more than this share of the keys asked for lately; 100%: none.",
)
@cors
@click.option(
    "--proxy-protocol",
    is_flag=True,
    envvar="RINGKV_PROXY_PROTOCOL",
    show_envvar=True,
    help="Every connection, HTTP or Redis, begins with a header of the PROXY protocol, version 1 or 2.",
)
@workers
@connection_limits
@secret
@log_level("info")
@log_format
def router(
    shards: str,
    listen: Address,
    redis_listen: Address | None,
    replicas: int,
    gate: float,
    cors: str | None,
    proxy_protocol: bool,
    workers: int,
    limits: ConnectionLimits,
    secret: str | None,
    log_level: str,
    log_format: str,
) -> None:
    """Answer GET /KEY over HTTP by asking the shard that owns the key.

    Shards that come and go are followed; no request fails while a shard that owns its key can be reached.

    \b
    ringkv router --shards 127.0.0.1:7379,127.0.0.1:7380
    curl localhost:8000/f8a24bb8-eff8-41dc-929b-10b4c3e49e05
    """
    log_style = LogStyle(log_level, log_format)
    start("router", log_style)

    from ringkv.process.budget import memory_of
    from ringkv.process.handover import begin_anew, taken_over
    from ringkv.process.run import run
    from ringkv.router.members.controller import Cluster
    from ringkv.router.members.discovery import Discovery
    from ringkv.router.server import RouterSettings, serve
    from ringkv.router.workers import bind_workers, duplicates, serve_workers

    cluster = Cluster(Discovery.parse(shards), replicas, secret, gate)
    limits = replace(limits, memory=memory_of(limits.memory, workers))
    settings = RouterSettings(cluster, cors=cors, limits=limits, proxied=proxy_protocol)
    processes = bind_workers(workers, listen, redis_listen, taken_over())
    kept = duplicates(processes)
    if workers == 1:
        anew = run(partial(serve, settings, processes[0]), may_begin_anew=True)
    else:
        anew = run(partial(serve_workers, settings, processes, log_style), may_begin_anew=True)
    if anew:
        begin_anew(kept)
