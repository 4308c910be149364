"""A client that sends pipelines of GETs, for random keys that are there: redis-benchmark has no list of keys.

python -m bench.pipelines PORT KEYS CONNECTIONS DEPTH SECONDS SEED      prints one JSON object, as load.lua does
"""

import json
import random
import selectors
import socket
import statistics
import time
from pathlib import Path
from typing import Any, Final

import click

from cluster import resp

DISTINCT: Final = 4000
"""Pipelines made beforehand: making one costs more than sending it."""


class _Client:
    """One connection with one pipeline under way."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.reader = resp.reader()
        self.missing = 0
        self.sent = 0.0

    def send(self, pipeline: bytes, depth: int) -> None:
        self.missing, self.sent = depth, time.perf_counter()
        self.socket.sendall(pipeline)

    def receive(self) -> int:
        """Take what has come; how many replies were no value."""
        self.reader.feed(self.socket.recv(1 << 20))
        gets, wrong = self.reader.gets, 0
        while (reply := gets()) is not resp.NOT_ENOUGH:
            self.missing -= 1
            wrong += type(reply) is not bytes
        return wrong


@click.command()
@click.argument("port", type=int)
@click.argument("keys", type=click.Path(path_type=Path))
@click.argument("connections", type=int)
@click.argument("depth", type=int)
@click.argument("seconds", type=float)
@click.argument("seed", type=int)
def main(port: int, keys: Path, connections: int, depth: int, seconds: float, seed: int) -> None:  # noqa: PLR0913, PLR0917 - click passes by name
    rng = random.Random(seed)  # noqa: S311 - to ask for the same keys again
    known = keys.read_bytes().split()
    pipelines = [resp.get_commands(rng.choices(known, k=depth)) for _ in range(DISTINCT)]
    selector = selectors.DefaultSelector()
    for _ in range(connections):
        client = _Client(port)
        selector.register(client.socket, selectors.EVENT_READ, client)
        client.send(rng.choice(pipelines), depth)
    times: list[float] = []
    wrong = 0
    start = now = time.perf_counter()
    while now < start + seconds:
        for key, _ in selector.select(seconds):
            answered: Any = key.data
            wrong += answered.receive()
            if not answered.missing:
                times.append(time.perf_counter() - answered.sent)
                answered.send(pipelines[int(rng.random() * DISTINCT)], depth)
        now = time.perf_counter()
    cuts = statistics.quantiles(times, n=100) if len(times) > 1 else [0.0] * 99
    told = {"requests": len(times) * depth, "seconds": now - start, "p50": cuts[49], "p99": cuts[98]}
    click.echo(json.dumps(told | {"status": wrong, "broken": 0}))


if __name__ == "__main__":
    main()
