"""A command whose errors are one line: apart from the options, whose types need asyncio and ssl to be loaded."""

from typing import Any

import click

from ringkv.cluster.errors import RingkvError


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
        except click.UsageError as error:
            error.ctx = None
            raise
        except RingkvError as error:
            raise click.ClickException(str(error)) from error


class OneLineGroup(OneLineCommand, click.Group):
    """A command that has commands of its own."""
