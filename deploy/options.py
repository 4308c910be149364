"""Options of the commands that serve data, some of which `ringkv up` and `ringkv shard` share."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from ringkv.cluster.limits import GATE
from ringkv.cluster.place import Place
from ringkv.process.options import SHARE, SIZE, WEIGHT, zone

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
    default=f"{GATE:.0%}",
    envvar="RINGKV_GATE",
    show_envvar=True,
    show_default=True,
    help="Keep out a version that lacks more than this share of the keys that are served; 100%: none.",
)

no_follow = click.option(
    "--no-follow",
    is_flag=True,
    envvar="RINGKV_NO_FOLLOW",
    show_envvar=True,
    help="Serve what DATA are now, whatever they become.",
)


def place(command: Callable[..., None]) -> Callable[..., None]:
    """The options that say where a shard stands, handed on as `place`."""

    @wraps(command)
    def placed(zone: str | None, weight: float, **given: Any) -> None:
        command(**given, place=Place(zone or "", weight))

    weighed = click.option(
        "--weight",
        type=WEIGHT,
        default="1",
        show_default=True,
        envvar="RINGKV_WEIGHT",
        show_envvar=True,
        help="How much the shard holds beside others: twice as much with 2 as with 1.",
    )(placed)
    located: Callable[..., None] = zone(
        "What the shard may be lost with; copies of a key are in as many as can be.  [default: none]"
    )(weighed)
    return located
