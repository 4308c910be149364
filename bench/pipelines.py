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

from ringkv.resp import codec

DISTINCT: Final = 4000
"""Pipelines made beforehand, with their replies: to make one, or to parse its replies, costs more than to send it."""

READ: Final = 1 << 16


class Pipeline:
    """GETs, and the replies to them that were checked once, one by one."""

    def __init__(self, keys: list[bytes]) -> None:
        self.requests = codec.get_commands(keys)
        self.replies = b""
        self._count = len(keys)

    def learn(self, connection: socket.socket) -> int:
        """Ask for the replies; how many were no value."""
        reader, wrong, left = codec.reader(), 0, self._count
        connection.sendall(self.requests)
        while left:
            data = connection.recv(READ)
            self.replies += data
            reader.feed(data)
            while (reply := reader.gets()) is not codec.NOT_ENOUGH:
                wrong += type(reply) is not bytes
                left -= 1
        return wrong


class Client:
    """One connection with one pipeline under way, since `sent`."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self._pipeline = Pipeline([b""])
        self._got = b""
        self.sent = 0.0

    def send(self, pipeline: Pipeline) -> None:
        self._pipeline, self._got, self.sent = pipeline, b"", time.perf_counter()
        self.socket.sendall(pipeline.requests)

    def receive(self) -> bool | None:
        """Take what has come; returns whether the replies are right, None while they are not complete."""
        data = self.socket.recv(READ)
        self._got = self._got + data if self._got else data
        expected = self._pipeline.replies
        return self._got == expected if len(self._got) >= len(expected) or not data else None


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
    pipelines = [Pipeline(rng.choices(known, k=depth)) for _ in range(DISTINCT)]
    with socket.create_connection(("127.0.0.1", port)) as connection:
        wrong = sum(pipeline.learn(connection) for pipeline in pipelines)
    selector = selectors.DefaultSelector()
    for _ in range(connections):
        client = Client(port)
        selector.register(client.socket, selectors.EVENT_READ, client)
        client.send(rng.choice(pipelines))
    times: list[float] = []
    broken = 0
    start = now = time.perf_counter()
    while now < start + seconds and not broken:
        for key, _ in selector.select(seconds):
            answered: Any = key.data
            right = answered.receive()
            if right is not None:
                broken += not right
                times.append(time.perf_counter() - answered.sent)
                answered.send(pipelines[int(rng.random() * DISTINCT)])
        now = time.perf_counter()
    cuts = statistics.quantiles(times, n=1000) if len(times) > 1 else [0.0] * 999
    told = {"requests": len(times) * depth, "seconds": now - start, "status": wrong, "broken": broken}
    click.echo(json.dumps(told | {"p50": cuts[499], "p99": cuts[989], "p999": cuts[998]}))


if __name__ == "__main__":
    main()
