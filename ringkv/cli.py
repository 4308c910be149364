"""The commands of `ringkv`, each of which is loaded when it is called."""

import ringkv.process.patient  # noqa: F401 - before all that is to be imported with patience

# isort: split

import errno
import io
import os
import signal
import sys
from importlib import import_module
from typing import Any, Final

import click

from ringkv import __version__

COMMANDS = {
    "up": "ringkv.deploy.cli",
    "pack": "ringkv.dataset.cli",
    "verify": "ringkv.dataset.cli",
    "cache": "ringkv.dataset.cli",
    "publish": "ringkv.dataset.publish_cli",
    "versions": "ringkv.dataset.catalog_cli",
    "rollback": "ringkv.dataset.catalog_cli",
    "prune": "ringkv.dataset.catalog_cli",
    "diff": "ringkv.dataset.catalog_cli",
    "get": "ringkv.client.cli",
    "explain": "ringkv.explain",
    "stats": "ringkv.stats_cli",
    "plan": "ringkv.plan",
    "shard": "ringkv.deploy.cli",
    "router": "ringkv.router.cli",
}
"""Command → the module that defines it, under the same name."""

NOT_WRITTEN: Final = {errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
"""Why an output cannot be written that is open. Whoever writes to files of its own tells of these itself."""


class LazyGroup(click.Group):
    """Loads no more code than the command at hand needs."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; that its output cannot be written is one line, and that nobody reads it none."""
        try:
            return super().invoke(ctx)
        except OSError as error:
            if error.errno not in NOT_WRITTEN or error.filename is not None:
                raise
            from ringkv.client.get import OUTPUT_CLOSED, forget_output

            forget_output()
            if error.errno == errno.EPIPE:
                sys.exit(OUTPUT_CLOSED)
            raise click.ClickException(f"standard output: {error.strerror}") from error

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        try:
            command: click.Command = getattr(import_module(COMMANDS[cmd_name]), cmd_name)
        except KeyboardInterrupt:  # click would end with 1, which of `get` and `explain` is that a key is missing
            sys.exit(128 + signal.SIGINT)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="ringkv %(version)s")
def main() -> None:
    """Serve an immutable key-value file over the network from a sharded, self-healing cluster.

    \b
    ringkv up example.data
    curl localhost:8000/f8a24bb8-eff8-41dc-929b-10b4c3e49e05
    """
    _take_standard_numbers()
    _escape_what_cannot_be_encoded()


def _take_standard_numbers() -> None:
    """Open what was closed of input, output and errors, as by `<&- >&- 2>&-` in a shell.

    A port or a pipe would have the number, and all processes inherit what has it: they would keep the port, and wait
    for the end of a pipe that they themselves hold open. Only for writing, so that there still is no input to read.
    """
    while (descriptor := os.open(os.devnull, os.O_WRONLY)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


def _escape_what_cannot_be_encoded() -> None:
    """Write it as on stderr, where it would end a command whose work is done: an arrow in Latin-1, a name of odd bytes.

    Where the locale has the bytes of such names written as they are, they still are.
    """
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")
