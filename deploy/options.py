"""Options of the commands that serve data, apart from those because `up` and `shard` share some of them."""

import click

from ringkv.process.options import SHARE, SIZE

cache_size = click.option(
    "--cache-size",
    type=SIZE,
    envvar="RINGKV_CACHE_SIZE",
    show_envvar=True,
    help="How much the cache may keep of what comes from a store, as 20G.  [default: what the disk has]",
)

fetch_rate = click.option(
    "--fetch-rate",
    type=SIZE,
    default="0",
    show_default=True,
    envvar="RINGKV_FETCH_RATE",
    show_envvar=True,
    help="Bytes a second that are fetched from a store before anybody asks for them; 0 for no limit.",
)

warm_rate = click.option(
    "--warm-rate",
    type=SIZE,
    default="256M",
    show_default=True,
    envvar="RINGKV_WARM_RATE",
    show_envvar=True,
    help="Bytes a second that a shard reads and checks before anybody asks for them; 0 for none.",
)


gate = click.option(
    "--gate",
    type=SHARE,
    default="10%",
    envvar="RINGKV_GATE",
    show_envvar=True,
    show_default=True,
    help="Keep out a version that lacks more than this share of the keys that are served; 100%: none.",
)
