"""`ringkv shard` and `python -m shard`: the shard's command line."""

from functools import partial
from pathlib import Path

import click

from cluster.address import Address
from cluster.cli import ADDRESS, LogStyle, OneLineCommand, listen, log_format, log_level, secret, start_logging
from cluster.process import run
from dataset.cli import DATA, cache_dir, packed
from shard.name import checked, default_name
from shard.server import ShardSettings, serve


@click.command(cls=OneLineCommand)
@click.argument("data", type=DATA)
@listen("127.0.0.1:7379", "RESP: host:port or unix:/path")
@click.option(
    "--http",
    type=ADDRESS,
    envvar="RINGKV_HTTP",
    show_envvar=True,
    help="Where to answer /healthz, /readyz and GET /KEY.  [default: nowhere]",
)
@click.option(
    "--name",
    envvar="RINGKV_NAME",
    show_envvar=True,
    help="What places the shard on the ring.  [default: the reverse DNS name of its address, or the host name]",
)
@click.option("--leased", is_flag=True, help="Load nothing until a router leases a ring, instead of everything.")
@cache_dir
@secret
@log_level
@log_format
def shard(
    data: Path,
    listen: Address,
    http: Address | None,
    name: str | None,
    leased: bool,
    cache: Path | None,
    secret: str | None,
    log_level: str,
    log_format: str,
) -> None:
    """Serve the pairs of DATA, a text or a packed file, over the Redis protocol.

    Alone it serves everything. From the first lease of a router on, it keeps just the partitions that the
    router's ring gives to its name.

    \b
    python -m shard example.data
    redis-cli -p 7379 GET f8a24bb8-eff8-41dc-929b-10b4c3e49e05
    """
    start_logging(LogStyle(log_level, log_format))
    settings = ShardSettings(packed(data, cache), checked(name or default_name()), listen, http, leased, secret)
    run(partial(serve, settings))
