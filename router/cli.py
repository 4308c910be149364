"""`ringkv router`: the router's command line."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import click

from ringkv.cluster.errors import StartupError
from ringkv.cluster.limits import GATE
from ringkv.process.access import AccessFiles
from ringkv.process.access_options import access, reread_secret, secret
from ringkv.process.address import Address
from ringkv.process.command import OneLineCommand
from ringkv.process.connections import ConnectionLimits
from ringkv.process.logs import LogStyle
from ringkv.process.options import (
    ADDRESS,
    FILE,
    SHARE,
    connection_limits,
    cors,
    hot_memory,
    hot_owners,
    listen,
    log_format,
    log_level,
    replicas,
    workers,
    zone,
)
from ringkv.process.start import start
from ringkv.process.tls import ClientFiles


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
@click.option(
    "--admin-listen",
    type=ADDRESS,
    envvar="RINGKV_ADMIN_LISTEN",
    show_envvar=True,
    help="Where to answer all that is not about keys, and nowhere else.  [default: where keys are answered]",
)
@replicas
@zone("Where the router is: it asks the owners in this zone first, and others where there is none.  [default: none]")
@click.option(
    "--gate",
    type=SHARE,
    default=f"{GATE:.0%}",
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
@hot_memory
@hot_owners
@connection_limits
@access
@click.option(
    "--shard-ca",
    type=FILE,
    envvar="RINGKV_SHARD_CA",
    show_envvar=True,
    help="Speak TLS with shards, whose certificates have to be of these roots, in PEM.  [default: no TLS]",
)
@click.option(
    "--shard-cert",
    type=FILE,
    envvar="RINGKV_SHARD_CERT",
    show_envvar=True,
    help="The router's certificate for shards that want one, in PEM.  [default: none]",
)
@click.option(
    "--shard-key",
    type=FILE,
    envvar="RINGKV_SHARD_KEY",
    show_envvar=True,
    help="Its key, in PEM.  [default: in the same file]",
)
@secret
@log_level("info")
@log_format
def router(
    shards: str,
    listen: Address,
    redis_listen: Address | None,
    admin_listen: Address | None,
    replicas: int,
    zone: str | None,
    gate: float,
    cors: str | None,
    proxy_protocol: bool,
    workers: int,
    hot_memory: int,
    hot_owners: int,
    limits: ConnectionLimits,
    access: AccessFiles,
    shard_ca: Path | None,
    shard_cert: Path | None,
    shard_key: Path | None,
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

    import ringkv.process.rootless  # noqa: F401 - before all that imports aiohttp
    from ringkv.process.access import are_right
    from ringkv.process.budget import memory_of
    from ringkv.process.handover import begin_anew, taken_over
    from ringkv.process.run import run
    from ringkv.router.server import serve
    from ringkv.router.settings import Cluster, Discovery, RouterSettings
    from ringkv.router.workers import bind_workers, duplicates, serve_workers

    tls = None
    if shard_ca is not None:
        tls = ClientFiles(shard_ca, shard_cert, shard_key)
        tls.context()
    elif shard_cert is not None or shard_key is not None:
        raise StartupError("--shard-cert and --shard-key need --shard-ca")
    cluster = Cluster(Discovery.parse(shards), replicas, secret, gate, tls, zone or "", hot_owners)
    limits = replace(limits, memory=memory_of(limits.memory, workers))
    settings = RouterSettings(
        cluster, cors=cors, limits=limits, proxied=proxy_protocol, access=access, hot_memory=hot_memory
    )
    processes = bind_workers(workers, listen, redis_listen, admin_listen, taken_over())
    kept = duplicates(processes)
    if workers == 1:
        life = partial(serve, settings, processes[0])
    else:
        life = partial(serve_workers, settings, processes, log_style)
    files = [access.check, reread_secret, *([tls.context] if tls is not None else [])]
    if run(life, partial(are_right, *files)):
        begin_anew(kept)
