"""`ringkv stats`: a running cluster in the terminal, as its router tells it, looked at again and again."""

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from ringkv.client.get import INTERRUPTED, Client, ClientError
from ringkv.client.options import tls, url
from ringkv.looks import Looks
from ringkv.process.command import OneLineCommand
from ringkv.process.seconds import SecondsType

if TYPE_CHECKING:
    import ssl


@click.command(cls=OneLineCommand)
@url
@tls
@click.option(
    "--interval",
    type=SecondsType(0.1, 3600),
    default=1.0,
    show_default=True,
    help="Seconds between two looks; rates and quantiles are those of the time between them.",
)
@click.option("--once", is_flag=True, help="Print one account after one interval, as when no terminal is there.")
@click.option("--json", "as_json", is_flag=True, help="Print that account as JSON; times in seconds, rates a second.")
def stats(*, url: str, tls: "ssl.SSLContext | None", interval: float, once: bool, as_json: bool) -> None:
    """Show the state of a running cluster, live: its dataset, its shards, requests a second, p50 and p99.

    Ctrl-C ends it. p50 and p99 are measured in the router, from a request's arrival to its answer.

    \b
    ringkv stats
    ringkv stats --json | jq .p99
    """
    try:
        with Client(url, tls=tls) as client:
            looks = Looks(client, url, interval)
            if as_json:
                click.echo(json.dumps(asdict(looks.next())))
                return

            from ringkv.stats import tell  # which takes as long as the rest of the start: the interval passes meanwhile

            tell(looks, url, once=once)
    except ClientError as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
