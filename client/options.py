"""The options that all commands which ask a router share."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from ringkv.client.files import InvalidCertificates, tls_context
from ringkv.client.get import DEFAULT_URL, TOKEN_VARIABLE, URL_VARIABLE, wrong_usage

url = click.option(
    "--url", envvar=URL_VARIABLE, show_envvar=True, default=DEFAULT_URL, show_default=True, help="The router."
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
