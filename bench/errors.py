"""What can go wrong in a benchmark, as one line for people."""

import click


class BenchmarkFailed(click.ClickException):
    """A program did not start, answered wrongly, or broke off: no figure can be had from it."""
