"""`ringkv get`: client/get.py as an installed command."""

import ssl
import sys

import click

from ringkv.client.files import find_token
from ringkv.client.get import (
    DEFAULT_URL,
    EXAMPLES,
    SUMMARY,
    URL_VARIABLE,
    Client,
    print_values,
    wrong_usage,
)
from ringkv.client.options import tls, token_file


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
