"""What the command lines of all processes share: options with one meaning everywhere."""

import re
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, Final

import click

from ringkv.cluster.errors import InvalidAddress
from ringkv.cluster.limits import MAX_EXTRA, MAX_REPLICAS
from ringkv.cluster.place import weight_of
from ringkv.cluster.told import is_zone
from ringkv.process.address import Address, is_host
from ringkv.process.connections import DEFAULT_LIMITS, ConnectionLimits
from ringkv.process.seconds import SecondsType
from ringkv.process.sizes import parse_size


class AddressType(click.ParamType[Address]):
    """`Address.parse` as the type of an option."""

    name = "address"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Address:
        if isinstance(value, Address):
            return value
        try:
            return Address.parse(value)
        except InvalidAddress as error:
            self.fail(str(error), param, ctx)


ADDRESS = AddressType()


class HostType(click.ParamType[str]):
    """The host of an address to listen on; an empty one would be all of them."""

    name = "host"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not is_host(value):
            self.fail(f"not a host: {value!r} (want its name or address, or 0.0.0.0 for all)", param, ctx)
        return str(value)


HOST = HostType()


class SizeType(click.ParamType[int]):
    """`parse_size` as the type of an option."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            return parse_size(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


SIZE = SizeType()


class DurationType(click.ParamType[float]):
    """Seconds: 90, 90s, 30m, 1h, 2d."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,3})?)([smhd]?)", str(value).strip().lower(), re.ASCII)
        if not found:
            self.fail(f"not a duration: {value!r} (want seconds, or a number with s, m, h or d)", param, ctx)
        return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}[found[2]]


DURATION = DurationType()


class ShareType(click.ParamType[float]):
    """A part of a whole: 10% or 0.1."""

    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        found = re.fullmatch(r"(\d{1,3}(?:\.\d{1,6})?)(%?)", str(value).strip(), re.ASCII)
        share = float(found[1]) / (100 if found[2] else 1) if found else 2.0
        if share > 1:
            self.fail(f"not a share: {value!r} (want 10%, or a number from 0 to 1)", param, ctx)
        return share


SHARE = ShareType()


class ZoneType(click.ParamType[str]):
    """The name of a zone."""

    name = "zone"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not is_zone(value):
            self.fail(f"not a zone: {value[:60]!a} (want letters, digits, dots, dashes and underscores)", param, ctx)
        return str(value)


class WeightType(click.ParamType[float]):
    """`weight_of` as the type of an option."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return weight_of(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


WEIGHT = WeightType()


class OriginType(click.ParamType[str]):
    """`*`, or an origin as browsers write it: scheme, host and port, without a path."""

    name = "origin"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not re.fullmatch(
            r"\*|[a-z][a-z0-9+.-]*://[a-z0-9._-]+(?::[0-9]{1,5})?|https?://\[[0-9a-f:]+\](?::[0-9]{1,5})?", value
        ):
            self.fail(f"not an origin: {value!r} (want https://host, https://host:port or *)", param, ctx)
        return str(value)


FILE: Final = click.Path(path_type=Path)

cors = click.option(
    "--cors",
    type=OriginType(),
    envvar="RINGKV_CORS",
    show_envvar=True,
    help="The origin whose pages may read here, as https://app.example, or * for any.  [default: none]",
)


def listen(default: str, what: str) -> Callable[[Any], Any]:
    """The option `--listen` of a process that speaks `what`."""
    return click.option(
        "--listen",
        type=ADDRESS,
        default=default,
        show_default=True,
        envvar="RINGKV_LISTEN",
        show_envvar=True,
        help=f"Where to speak {what}.",
    )


def log_level(default: str) -> Callable[[Any], Any]:
    """The option `--log-level` of a process that logs so much unless told otherwise."""
    return click.option(
        "--log-level",
        type=click.Choice(["debug", "info", "warning", "error"]),
        default=default,
        show_default=True,
        envvar="RINGKV_LOG_LEVEL",
        show_envvar=True,
        help="What to write to stderr, one line an event.",
    )


log_format = click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    envvar="RINGKV_LOG_FORMAT",
    show_envvar=True,
    help="How to write it: for people, or one JSON object an event with time, level, logger, message and exception.",
)

replicas = click.option(
    "--replicas",
    type=click.IntRange(1, MAX_REPLICAS),
    default=1,
    show_default=True,
    envvar="RINGKV_REPLICAS",
    show_envvar=True,
    help="Shards that hold each key.",
)


def zone(meaning: str) -> Callable[[Any], Any]:
    """The option `--zone`, which means this to its process."""
    return click.option("--zone", type=ZoneType(), envvar="RINGKV_ZONE", show_envvar=True, help=meaning)


workers = click.option(
    "--workers",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    envvar="RINGKV_WORKERS",
    show_envvar=True,
    help="Router processes that share the port: more than one where the router has more than one core to itself.",
)

hot_memory = click.option(
    "--hot-memory",
    type=SIZE,
    default="64M",
    show_default=True,
    envvar="RINGKV_HOT_MEMORY",
    show_envvar=True,
    help="How much the router may keep of values that are asked for again and again; 0 for none.",
)

hot_owners = click.option(
    "--hot-owners",
    type=click.IntRange(0, MAX_EXTRA),
    default=8,
    show_default=True,
    envvar="RINGKV_HOT_OWNERS",
    show_envvar=True,
    help="How many extra owners partitions may have together that stay hot beyond one shard's reach; 0 for none.",
)

_LIMITS: Final = {
    "header": ("--header-timeout", "Seconds in which a request must come whole, and the first one begin."),
    "idle": ("--idle-timeout", "Seconds for which a connection may stay without a request."),
    "body": ("--body-timeout", "Seconds between two pieces of a request's body."),
    "send": ("--send-timeout", "Seconds for which a client may read nothing of its answer."),
    "most": ("--max-connections", "Clients' connections that a process has open at most."),
    "per_peer": ("--max-connections-per-peer", "The same for each address that clients have."),
}
"""Field of ConnectionLimits → its option."""

_memory: Final = click.option(
    "--memory",
    type=SIZE,
    envvar="RINGKV_MEMORY",
    show_envvar=True,
    help="What the command's processes may take together, beside the files' pages.  [default: half of what there is]",
)


def connection_limits(command: Callable[..., None]) -> Callable[..., None]:
    """The options of a process that clients connect to, handed on as `limits`; 0 is without limit for most of them."""

    @wraps(command)
    def limited(**given: Any) -> None:
        found = {field: given.pop(option[2:].replace("-", "_")) for field, (option, _) in _LIMITS.items()}
        limits = ConnectionLimits(**found, memory=given.pop("memory"))
        command(**given, limits=limits)

    limited = _memory(limited)

    for field, (option, told) in reversed(_LIMITS.items()):
        default = getattr(DEFAULT_LIMITS, field)
        limited = click.option(
            option,
            type=click.IntRange(0) if isinstance(default, int) else SecondsType(0),
            default=default,
            show_default=True,
            envvar=f"RINGKV_{option[2:].replace('-', '_').upper()}",
            show_envvar=True,
            help=told,
        )(limited)
    return limited
