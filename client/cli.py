"""`ringkv get`: client/get.py for those who have the whole of ringkv installed."""

import sys

import click

from ringkv.client.get import DEFAULT_URL, EXAMPLES, SUMMARY, TOKEN_VARIABLE, URL_VARIABLE, print_values, wrong_usage

token_file = click.option(
    "--token-file",
    type=click.Path(),
    help=f"A file whose first line is a token, where the router wants one.  [default: ${TOKEN_VARIABLE}]",
)


ca = click.option(
    "--ca",
    type=click.Path(),
    help="The roots of the certificate of a router of https, in PEM.  [default: the system's]",
)


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
@ca
def get(keys: tuple[str, ...], url: str, token_file: str | None, ca: str | None) -> None:
    sys.exit(print_values(keys, url, token_file=token_file, ca=ca))
