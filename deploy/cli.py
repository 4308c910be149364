"""`ringkv up`: a cluster on this machine with one command."""

from functools import partial
from pathlib import Path

import click

from cluster.address import Address, bind_shared
from cluster.cli import LogStyle, OneLineCommand, log_format, start_logging, workers
from cluster.forking import fork_server
from dataset.cli import DATA, cache_dir, packed


@click.command(cls=OneLineCommand)
@click.argument("data", type=DATA)
@click.option("--shards", type=click.IntRange(1), default=3, show_default=True, help="Processes that share the data.")
@click.option("--replicas", type=click.IntRange(1), default=1, show_default=True, help="Shards that hold each key.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 takes any free one.")
@click.option("--redis-port", type=click.IntRange(0, 65535), help="Speak the Redis protocol there too.  [default: no]")
@click.option("--host", default="127.0.0.1", show_default=True, help="0.0.0.0 lets other machines in.")
@workers
@log_format
@cache_dir
def up(
    data: Path,
    shards: int,
    replicas: int,
    port: int,
    redis_port: int | None,
    host: str,
    workers: int,
    log_format: str,
    cache: Path | None,
) -> None:
    """Serve DATA, a text or a packed file, from a cluster on this machine.

    Packs it unless that was done before, starts shards and a router, starts again what dies, and stops all
    of it on Ctrl-C or SIGTERM. Prints one line that begins with `ringkv: ready` when the first GET will succeed.
    """
    # What a person at a terminal wants to read of a cluster that works: nothing.
    log_style = LogStyle("warning", log_format)
    start_logging(log_style)
    # Before anything that takes long: a port in use is the most frequent reason for a start to fail.
    http = bind_shared(Address(host, port), workers)
    redis = bind_shared(Address(host, redis_port), workers) if redis_port is not None else workers * [None]
    fork_server("deploy.local")

    from cluster.process import run
    from dataset.packed import PackedFile
    from deploy.local import LocalSettings, serve
    from router.server import Worker

    path = packed(data, cache)
    # Open as long as the cluster runs: a file that no shard can read is one line here and not one of each shard,
    # and the cache keeps it for shards that are started again, also when the data has changed meanwhile.
    with PackedFile.open(path):
        run(partial(serve, LocalSettings(path, shards, replicas, log_style), list(map(Worker, http, redis))))
