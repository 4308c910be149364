"""What the command lines of all processes share: an error is one line, a log record is one line."""

import logging
import sys
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import click

from cluster.address import Address
from cluster.errors import InvalidAddress, RingkvError

TEXT: Final = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


class OneLineCommand(click.Command):
    """A command that ends with exit code 1 and one line on stderr when it cannot do what was asked."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            error.ctx = None  # with it click prints three lines more
            raise

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except RingkvError as error:
            raise click.ClickException(str(error)) from error


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


log_level = click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
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

workers = click.option(
    "--workers",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    envvar="RINGKV_WORKERS",
    show_envvar=True,
    help="Router processes that share the port: more than one where the router has more than one core to itself.",
)

secret = click.option(
    "--secret",
    envvar="RINGKV_SECRET",
    show_envvar=True,
    help="What routers must prove to lease. Better in the environment: arguments can be read by all users.",
)


class LogStyle(NamedTuple):
    """What `--log-level` and `--log-format` say."""

    level: str = "info"
    form: str = "text"


def start_logging(style: LogStyle) -> None:
    """Write what is logged to stderr from now on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_json_lines() if style.form == "json" else logging.Formatter(TEXT))
    logging.basicConfig(handlers=[handler], level=style.level.upper())


def _json_lines() -> logging.Formatter:
    from pythonjsonlogger.json import JsonFormatter

    return JsonFormatter(
        ["levelname", "name", "message"],
        timestamp="time",
        rename_fields={"levelname": "level", "name": "logger", "exc_info": "exception"},
    )
