"""The options that say what a process keeps to itself: its secret, who may read, and how its ports are encrypted."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, Final

import click
from click.core import ParameterSource

from ringkv.cluster.errors import StartupError
from ringkv.process.access import AccessFiles
from ringkv.process.options import FILE
from ringkv.process.tls import ServerFiles


def _as_bytes(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    """Refuse a secret that is not UTF-8, in which it is sent; the message does not show it."""
    try:
        (value or "").encode()
    except UnicodeEncodeError:
        raise click.BadParameter("is not UTF-8") from None
    return value


def secret(command: Callable[..., None]) -> Callable[..., None]:
    """The options that name what routers prove to shards, handed on as `secret`."""

    @wraps(command)
    def kept(*, secret: str | None, secret_file: Path | None, **given: Any) -> None:
        if click.get_current_context().get_parameter_source("secret") is ParameterSource.COMMANDLINE:
            click.echo("Warning: all users can read --secret in the list of processes: use --secret-file", err=True)
        if secret and secret_file:
            raise StartupError("there are two secrets: leave out --secret-file, or --secret and $RINGKV_SECRET")
        command(**given, secret=_read_secret(secret_file) if secret_file else secret)

    kept = click.option(
        "--secret-file",
        type=FILE,
        envvar="RINGKV_SECRET_FILE",
        show_envvar=True,
        help="A file with what routers must prove to lease, and nothing else.  [default: none]",
    )(kept)
    return click.option(
        "--secret",
        callback=_as_bytes,
        envvar="RINGKV_SECRET",
        show_envvar=True,
        help="The same in the environment. Deprecated as an argument, which all users of the machine can read.",
    )(kept)


def reread_secret() -> None:
    """Read the file with the secret again, if the command at hand has one. Raises StartupError."""
    path: Path | None = click.get_current_context().params["secret_file"]
    if path is not None:
        _read_secret(path)


def _read_secret(path: Path) -> str:
    """The secret in a file. Raises StartupError, which does not show what the file holds."""
    try:
        found = path.read_text("utf-8").strip()
    except UnicodeDecodeError:
        raise StartupError(f"no secret can be read: {path}: is not UTF-8") from None
    except OSError as error:
        raise StartupError(f"no secret can be read: {path}: {error.strerror or error}") from error
    if not found:
        raise StartupError(f"no secret can be read: {path} is empty")
    return found


read_token_file = click.option(
    "--read-token-file",
    type=FILE,
    envvar="RINGKV_READ_TOKEN_FILE",
    show_envvar=True,
    help="Let only those read who say a token of this file, one a line; read again on SIGHUP.  [default: everybody]",
)

_TLS: Final = {
    "certificate": (
        "--tls-cert",
        "Encrypt with this certificate and what leads to its root, in PEM.  [default: nothing]",
    ),
    "key": ("--tls-key", "Its key, in PEM.  [default: in the same file]"),
    "client_ca": ("--tls-client-ca", "Refuse who has no certificate of these roots, in PEM.  [default: nobody]"),
}
"""Field of ServerFiles → its option."""


def access(command: Callable[..., None]) -> Callable[..., None]:
    """The options of a process that say who may read and how its ports are encrypted, handed on as `access`."""

    @wraps(command)
    def opened(**given: Any) -> None:
        files = {field: given.pop(option[2:].replace("-", "_")) for field, (option, _) in _TLS.items()}
        if files["certificate"] is None and any(files.values()):
            raise StartupError("--tls-key and --tls-client-ca need --tls-cert")
        tls = ServerFiles(**files) if files["certificate"] else None
        found = AccessFiles(given.pop("read_token_file"), tls)
        found.open()
        command(**given, access=found)

    for option, told in reversed(_TLS.values()):
        opened = click.option(
            option,
            type=FILE,
            envvar=f"RINGKV_{option[2:].replace('-', '_').upper()}",
            show_envvar=True,
            help=told,
        )(opened)
    return read_token_file(opened)
