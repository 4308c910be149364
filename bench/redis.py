"""The Redis port with pipelines, beside HTTP: the same cluster, the same keys, in turn."""

import socket
from functools import partial
from pathlib import Path
from typing import Final

import click

from bench.client import compiled
from bench.data import Data
from bench.errors import BenchmarkFailed
from bench.figures import Figures
from bench.load import KEPT, Measured, measure, measure_with
from bench.peers.ringkv import Ringkv
from bench.processes import Processes
from bench.quiet import Quiet
from bench.serving import CHECKED, Scale
from ringkv.resp import codec

CONNECTIONS: Final = 64
DEPTH: Final = 16

HTTP: Final = "GET over HTTP"
REDIS_PORT: Final = f"GET over Redis, pipelines of {DEPTH}"


def pipeline(data: Data, scale: Scale, folder: Path, quiet: Quiet, figures: Figures) -> None:
    """Measure both in turn. Raises BenchmarkFailed."""
    program = compiled("direct", folder)
    for number in range(1, scale.rounds + 1):
        with Processes(folder / f"redis-{number}") as processes:
            endpoint, port = Ringkv().start_with_redis(data, processes)
            _check(port, data)
            http = partial(
                measure,
                endpoint,
                data.keys,
                connections=CONNECTIONS,
                seconds=scale.seconds,
                pids=processes.pids,
                seed=number,
            )
            asked = (program, CONNECTIONS, DEPTH, scale.seconds, number, port, data.keys)
            redis = partial(
                measure_with,
                [*map(str, asked)],
                connections=CONNECTIONS,
                seconds=scale.seconds,
                pids=processes.pids,
            )
            for subject, once in ((HTTP, http), (REDIS_PORT, redis)):
                _keep(number, subject, quiet.measured(once), figures)
    click.echo(f"ratio {figures.ratio('port rate', REDIS_PORT, HTTP, CONNECTIONS):.2f}")


def _keep(number: int, subject: str, found: Measured, figures: Figures) -> None:
    for quantity in KEPT:
        figures.add(subject, f"port {quantity}", getattr(found, quantity), CONNECTIONS)
    click.echo(f"round {number}: {subject:30} {found}")


def _check(port: int, data: Data) -> None:
    """Does it answer with the values' own bytes? Raises BenchmarkFailed."""
    pairs = data.first(CHECKED)
    reader = codec.reader()
    found: list[object] = []
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(codec.get_commands([key for key, _ in pairs]))
        while len(found) < len(pairs):
            reader.feed(connection.recv(1 << 20))
            while (reply := reader.gets()) is not codec.NOT_ENOUGH:
                found.append(reply)
    if found != [value for _, value in pairs]:
        raise BenchmarkFailed(f"the Redis port answers {found!r} instead of the values of {pairs!r}")
