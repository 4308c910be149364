"""What can go wrong in a benchmark, as one line for people."""

import click


class BenchmarkFailed(click.ClickException):
    """A program did not start, answered wrongly, or broke off, so that there is no figure."""
