"""`ringkv up` and `ringkv shard`: the commands that serve data, which they pack first if need be."""

import logging
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from ringkv.cluster.errors import DatasetOverwritten, StartupError
from ringkv.cluster.place import Place
from ringkv.dataset.command import packed
from ringkv.dataset.options import LOCATION, cache_dir, on_duplicate
from ringkv.deploy.options import cache_size, fetch_rate, gate, no_follow, place, warm_rate
from ringkv.process.access import AccessFiles
from ringkv.process.access_options import access, read_token_file, secret
from ringkv.process.address import Address, bind_shared, reserved_ports
from ringkv.process.command import OneLineCommand
from ringkv.process.connections import ConnectionLimits
from ringkv.process.logs import LogStyle
from ringkv.process.options import (
    ADDRESS,
    DURATION,
    HOST,
    connection_limits,
    cors,
    hot_memory,
    hot_owners,
    listen,
    log_format,
    log_level,
    replicas,
    workers,
)
from ringkv.process.start import name_process, start

if TYPE_CHECKING:
    from ringkv.dataset.dataset import Dataset
    from ringkv.dataset.packing.merge import DuplicatePolicy

log = logging.getLogger("ringkv.deploy")

PORT: Final = click.IntRange(0, 65535)


@click.command(cls=OneLineCommand)
@click.argument("data", type=LOCATION, nargs=-1, required=True)
@click.option(
    "--shards",
    type=click.IntRange(1),
    default=3,
    show_default=True,
    envvar="RINGKV_SHARD_COUNT",
    show_envvar=True,
    help="Processes that share the data.",
)
@replicas
@click.option(
    "--port",
    type=PORT,
    default=8000,
    show_default=True,
    envvar="RINGKV_PORT",
    show_envvar=True,
    help="0 takes any free one.",
)
@click.option(
    "--redis-port",
    type=PORT,
    envvar="RINGKV_REDIS_PORT",
    show_envvar=True,
    help="Speak the Redis protocol there too.  [default: no]",
)
@click.option(
    "--cluster-port",
    type=PORT,
    envvar="RINGKV_CLUSTER_PORT",
    show_envvar=True,
    help="Let clients of a Redis Cluster ask the shards themselves, at 127.0.0.1 from this port on.  [default: no]",
)
@click.option(
    "--host",
    type=HOST,
    default="127.0.0.1",
    show_default=True,
    envvar="RINGKV_HOST",
    show_envvar=True,
    help="0.0.0.0 lets other machines in.",
)
@cors
@workers
@hot_memory
@hot_owners
@connection_limits
@read_token_file
@warm_rate
@gate
@no_follow
@log_level("warning")  # at a terminal a cluster that works is silent after its first line
@log_format
@on_duplicate
@cache_dir
def up(
    data: tuple[Path | str, ...],
    shards: int,
    replicas: int,
    port: int,
    redis_port: int | None,
    cluster_port: int | None,
    host: str,
    cors: str | None,
    workers: int,
    hot_memory: int,
    hot_owners: int,
    limits: ConnectionLimits,
    read_token_file: Path | None,
    warm_rate: int,
    gate: float,
    no_follow: bool,
    log_level: str,
    log_format: str,
    on_duplicate: "DuplicatePolicy",
    cache: Path | None,
) -> None:
    """Serve DATA from a cluster on this machine: packed, anything that `ringkv pack` takes, or what a catalog says.

    Packs it unless that was done before, starts shards and a router, starts again what dies, and stops all
    of it on Ctrl-C or SIGTERM. Prints one line that begins with `ringkv: ready` when the first GET will succeed.
    When DATA is replaced by another file, that is packed and served in its place, and no request fails; one that is
    written in place is taken on SIGHUP. A bad one, or one that lacks more keys than --gate allows, changes nothing.
    """
    log_style = LogStyle(log_level, log_format)
    start("up", log_style)
    if replicas > shards:
        log.warning("--replicas %d is more than there are shards: each of the %d holds every key", replicas, shards)
    readers = AccessFiles(read_token_file)
    readers.open()
    http = bind_shared(Address(host, port), workers)  # before what takes long: most starts fail for a port in use
    redis = bind_shared(Address(host, redis_port), workers) if redis_port is not None else workers * [None]
    nodes: tuple[Address, ...] = ()
    if cluster_port is not None:
        nodes = click.get_current_context().with_resource(reserved_ports(cluster_port, shards))
    from ringkv.deploy.forks import fork_servers

    router_server = fork_servers()

    from ringkv.dataset.cache import cache_folder
    from ringkv.dataset.catalog import is_catalog
    from ringkv.dataset.dataset import Dataset
    from ringkv.deploy.following import Given, look
    from ringkv.deploy.local import LocalSettings, Routers, serve
    from ringkv.process.run import run
    from ringkv.router.settings import Worker

    served = partial(
        LocalSettings,
        shards=shards,
        replicas=replicas,
        log_style=log_style,
        cors=cors,
        warm_rate=warm_rate,
        limits=limits,
        access=readers,
        gate=gate,
        hot_memory=hot_memory,
        hot_owners=hot_owners,
        nodes=nodes,
    )
    routers = Routers(list(map(Worker, http, redis)), router_server)
    if len(data) == 1 and is_catalog(data[0]):
        run(partial(serve, served(str(data[0]), cache=cache_folder(cache)), routers))
        return
    paths = tuple(map(Path, data))
    # Looked at before they are packed: what changes from here on is another version.
    given = None if no_follow else Given(paths, on_duplicate, cache, look(paths))
    # Opened here, so that a dataset that cannot be read is one error and not one of each shard.
    with packed(paths, on_duplicate, cache) as path:
        dataset = Dataset.open(path)
        _warn_of_emptiness(paths, dataset)
        run(partial(serve, served(dataset, given=given), routers))


@click.command(cls=OneLineCommand)
@click.argument("data", type=LOCATION, nargs=-1, required=True)
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
@place
@click.option(
    "--announce",
    metavar="HOST:PORT",
    envvar="RINGKV_ANNOUNCE",
    show_envvar=True,
    help="Be a node of a Redis Cluster that clients reach there; a port alone: at this host's address.  [default: no]",
)
@click.option(
    "--grace",
    type=DURATION,
    default="60s",
    show_default=True,
    envvar="RINGKV_GRACE",
    show_envvar=True,
    help="How long such clients are served without any router.",
)
@click.option("--leased", is_flag=True, help="Answer nothing until a router leases a ring, instead of everything.")
@warm_rate
@fetch_rate
@connection_limits
@access
@on_duplicate
@cache_dir
@cache_size
@secret
@log_level("info")
@log_format
def shard(
    data: tuple[Path | str, ...],
    listen: Address,
    http: Address | None,
    name: str | None,
    place: Place,
    announce: str | None,
    grace: float,
    leased: bool,
    warm_rate: int,
    fetch_rate: int,
    limits: ConnectionLimits,
    access: AccessFiles,
    on_duplicate: "DuplicatePolicy",
    cache: Path | None,
    cache_size: int | None,
    secret: str | None,
    log_level: str,
    log_format: str,
) -> None:
    """Serve DATA over the Redis protocol: packed, anything that `ringkv pack` takes, or what a catalog says.

    A catalog, the folder or the address of a store to which `ringkv publish` publishes, is followed: the next version
    is offered as soon as it is there.

    Alone it serves everything. From the first lease of a router on, it keeps just the partitions that the
    router's ring gives to its name.

    \b
    ringkv shard example.data
    redis-cli -p 7379 GET f8a24bb8-eff8-41dc-929b-10b4c3e49e05
    ringkv shard s3://bucket/prefix --cache /var/lib/ringkv
    """
    start("shard", LogStyle(log_level, log_format))

    from ringkv.dataset.cache import cache_folder
    from ringkv.dataset.catalog import is_catalog
    from ringkv.dataset.dataset import Dataset
    from ringkv.process.run import run
    from ringkv.shard.name import announced, checked, default_name
    from ringkv.shard.server import serve
    from ringkv.shard.settings import Direct, Followed, Pinned, ShardSettings

    if access.tokens is not None and secret is None:
        raise StartupError("--read-token-file needs $RINGKV_SECRET too, by which routers read here")
    shard_name = checked(name or default_name())
    direct = Direct(announced(announce), grace=grace) if announce else None
    name_process(f"shard {shard_name}")
    with ExitStack() as stack:
        source: Pinned | Followed
        if len(data) == 1 and is_catalog(data[0]):
            source = Followed(data[0], cache_folder(cache), cache_size)
        else:
            paths = tuple(map(Path, data))
            source = Pinned(stack.enter_context(packed(paths, on_duplicate, cache)))
            with Dataset.open(source.path) as dataset:
                _warn_of_emptiness(paths, dataset)
        settings = ShardSettings(
            source, shard_name, listen, http, leased, secret, warm_rate, fetch_rate, limits, direct, access, place
        )
        try:
            run(partial(serve, settings))
        except DatasetOverwritten as error:
            # This is no mistake in the command, but an event in the life of a process, which belongs into the log.
            log.error("shard %s ends: %s", settings.name, error)
            sys.exit(1)


def _warn_of_emptiness(data: Sequence[Path], dataset: "Dataset") -> None:
    if dataset.manifest.keys == 0:
        log.warning("%s holds no pairs: no key will be found", ", ".join(map(str, data)))
