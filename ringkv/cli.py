"""The commands of `ringkv`."""

from functools import partial
from pathlib import Path

import click

from client.cli import get
from cluster.address import Address, bind
from cluster.cli import OneLineCommand, start_logging
from cluster.process import run
from dataset.cli import DATA, cache_dir, pack, packed
from dataset.packed import PackedFile
from deploy.local import LocalSettings, prepare, serve
from router.cli import router
from shard.cli import shard


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ringkv", message="ringkv %(version)s")
def main() -> None:
    """Serve an immutable key-value file over the network from a sharded, self-healing cluster.

    \b
    ringkv up example.data
    curl localhost:8000/f8a24bb8-eff8-41dc-929b-10b4c3e49e05
    """


@main.command(cls=OneLineCommand)
@click.argument("data", type=DATA)
@click.option("--shards", type=click.IntRange(1), default=3, show_default=True, help="Processes that share the data.")
@click.option("--replicas", type=click.IntRange(1), default=1, show_default=True, help="Shards that hold each key.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 takes any free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="0.0.0.0 lets other machines in.")
@cache_dir
def up(data: Path, shards: int, replicas: int, port: int, host: str, cache: Path | None) -> None:
    """Serve DATA, a text or a packed file, from a cluster on this machine.

    Packs it unless that was done before, starts shards and a router, starts again what dies, and stops all
    of it on Ctrl-C or SIGTERM. Prints one line that begins with `ringkv: ready` when the first GET will succeed.
    """
    start_logging("warning")
    listening = bind(Address(host, port))
    prepare()
    path = packed(data, cache)
    # Open as long as the cluster runs: a file that no shard can read is one line here and not one of each shard,
    # and the cache keeps it for shards that are started again, also when the data has changed meanwhile.
    with PackedFile.open(path):
        run(partial(serve, LocalSettings(path, shards, replicas), listening))


for command in (pack, get, shard, router):
    main.add_command(command)
