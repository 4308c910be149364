"""`ringkv get`: client/get.py as an installed command, and the options that all commands which ask a router share."""

import ssl
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from ringkv.client.files import InvalidCertificates, find_token, tls_context
from ringkv.client.get import (
    DEFAULT_URL,
    EXAMPLES,
    SUMMARY,
    TOKEN_VARIABLE,
    URL_VARIABLE,
    Client,
    print_values,
    wrong_usage,
)

token_file = click.option(
    "--token-file",
    type=click.Path(),
    help=f"A file whose first line is a token, where the router wants one.  [default: ${TOKEN_VARIABLE}]",
)


def tls(command: Callable[..., None]) -> Callable[..., None]:
    """The options `--ca`, `--cert` and `--cert-key` of a client, handed on as the context `tls`."""

    @wraps(command)
    def secured(*, ca: str | None, cert: str | None, cert_key: str | None, **given: Any) -> None:
        try:
            tls = tls_context(ca, cert, cert_key)
        except InvalidCertificates as error:
            wrong_usage(str(error))
        command(**given, tls=tls)

    for option, told in (
        ("--cert-key", "Its key, in PEM.  [default: in the same file]"),
        ("--cert", "The certificate to show to a router of https that wants one, in PEM.  [default: none]"),
        ("--ca", "The roots of the certificate of a router of https, in PEM.  [default: the system's]"),
    ):
        secured = click.option(option, type=click.Path(), help=told)(secured)
    return secured


class _OneLineUsage(click.Command):
    """A wrong usage is one line on stderr, as every other error of this command."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            wrong_usage(error.format_message())


@click.command(cls=_OneLineUsage, help=f"{SUMMARY}\n\n\b\n{EXAMPLES % {'prog': 'ringkv get'}}")
@click.argument("keys", metavar="KEY...", nargs=-1, required=True)
@click.option("--url", envvar=URL_VARIABLE, default=DEFAULT_URL, help="The router.")
@token_file
@tls
def get(keys: tuple[str, ...], url: str, token_file: str | None, tls: ssl.SSLContext | None) -> None:
    sys.exit(print_values(keys, lambda: Client(url, token=find_token(token_file), tls=tls)))
