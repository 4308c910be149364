"""Batches beside single GETs: the same cluster, the same keys, in turn; how many keys a second, at which cost each."""

import http.client
from functools import partial
from pathlib import Path
from typing import Final

import click

from bench.data import Data
from bench.errors import BenchmarkFailed
from bench.figures import Figures
from bench.load import Endpoint, Measured, measure, measure_with
from bench.peers.ringkv import Ringkv
from bench.processes import Processes
from bench.quiet import Quiet
from bench.serving import Scale

SCRIPT: Final = Path(__file__).with_name("mget.lua")

SINGLES: Final = "GET"
BATCHES: Final = "POST /mget"

KEYS: Final = 1000
"""Keys of a request. More would be the same windows of as many."""

CONNECTIONS: Final = {SINGLES: 64, BATCHES: 4}
"""A single client leaves the shards idle while it reads; four keep all processes busy."""


def batches(data: Data, scale: Scale, folder: Path, quiet: Quiet, figures: Figures) -> None:
    """Measure both in turn. Raises BenchmarkFailed."""
    keys = min(KEYS, data.pairs)
    for number in range(1, scale.rounds + 1):
        with Processes(folder / f"mget-{number}") as processes:
            endpoint = Ringkv().start(data, processes)
            check(endpoint, data, keys)
            singles = partial(
                measure,
                endpoint,
                data.keys,
                connections=CONNECTIONS[SINGLES],
                seconds=scale.seconds,
                pids=processes.pids,
                seed=number,
            )
            command = ["wrk", "--threads", "1", "--connections", str(CONNECTIONS[BATCHES]), "--timeout", "10s"]
            command += ["--duration", f"{max(1, round(scale.seconds))}s", "--script", str(SCRIPT)]
            command += [f"http://127.0.0.1:{endpoint.port}/", "--", str(data.keys), "/mget", str(keys), str(number)]
            together = partial(
                measure_with,
                command,
                connections=CONNECTIONS[BATCHES],
                seconds=scale.seconds,
                pids=processes.pids,
            )
            _keep(number, SINGLES, 1, quiet.measured(singles), figures)
            _keep(number, BATCHES, keys, quiet.measured(together), figures)
    click.echo(f"ratio {figures.ratio('keys a second', BATCHES, SINGLES):.2f}")


def _keep(number: int, subject: str, keys: int, found: Measured, figures: Figures) -> None:
    figures.add(subject, "keys a second", found.rate * keys)
    figures.add(subject, "cpu a key", found.cpu / keys)
    figures.add(subject, "failed batches", found.failed)
    click.echo(
        f"round {number}, {found.connections:2} connections: {subject:10} {found.rate * keys:9,.0f} keys/s"
        f"  p50 {1e3 * found.p50:6.2f} ms  p99 {1e3 * found.p99:6.2f} ms  {1e6 * found.cpu / keys:6.2f} µs CPU a key"
        f"  others {found.others:.2f}" + (f"  FAILED {found.failed}" if found.failed else "")
    )


def check(endpoint: Endpoint, data: Data, keys: int) -> None:
    """Does it answer with the data file's own lines? Raises BenchmarkFailed."""
    pairs = data.first(keys)
    connection = http.client.HTTPConnection("127.0.0.1", endpoint.port, timeout=30)
    connection.request("POST", "/mget", b"".join(key + b"\n" for key, _ in pairs))
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    if answer.status != 200 or body != b"".join(b"%b %b\n" % pair for pair in pairs):
        raise BenchmarkFailed(f"POST /mget answers {answer.status} {body[:200]!r} instead of the data file's lines")
