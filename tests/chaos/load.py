"""The load: a process of its own that asks for keys at a fixed pace and compares every answer with the data file.

    python -m tests.chaos.load example.data --url 127.0.0.1:8000 --output out.npz     begins at once, ends at SIGTERM

The loop is open: request *i* is due at `start + i / rate` whatever became of the ones before it, and its latency
counts from that moment. So a stall is seen by all requests that were due meanwhile, and not only by those few that
happened to be on their way (Gil Tene: "coordinated omission").
"""

import asyncio
import gc
import random
import signal
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast
from uuid import UUID

import click
import numpy as np
import uvloop

from ringkv.process.priority import go_first
from tests.chaos.measured import COLUMNS, ROW, Measured, Outcome

TICK: Final = 0.002
"""Seconds between two looks at the clock; what is due by then is sent, and counts as late by the difference."""

ABSENT: Final = 50
"""One request in so many asks for a key that the data file does not hold, and must be told so."""

LAST_ANSWERS: Final = 12.0
"""Seconds for the answers that are still owed at the end: twice the router's deadline, and some."""

MOST_SENT: Final = 5
"""A request whose connection is closed so often without an answer has failed."""

RECONNECT: Final = 0.02
KEY_LENGTH: Final = 36

clock = time.monotonic
"""The same in all processes of a machine: marks of the harness and measurements of the load share it."""


@dataclass(slots=True)
class Request:
    """`expected` is None for a key that is not in the data file."""

    due: float
    key: bytes
    expected: bytes | None
    sent: int = 0


class Load:
    """The requests that are due, the connections that are free, and the rows of what was measured."""

    def __init__(
        self,
        lines: list[bytes],
        targets: list[tuple[str, int]],
        connections: int,
        most: int,
        *,
        patience: float,
        versioned: bool,
    ) -> None:
        self.targets = targets
        self.versioned = versioned
        self.idle: deque[Connection] = deque()
        self.busy: set[Connection] = set()
        self.waiting: deque[Request] = deque()
        self.owed = 0
        self._lines = lines
        self._connections = connections
        self._most = most
        self._patience = patience
        self._opened = 0
        self._connecting: set[asyncio.Task[None]] = set()
        self._random = random.Random(1)
        self._rows = bytearray()
        self._lag = 0.0

    async def run(self, rate: float, stop: asyncio.Event) -> Measured:
        """Ask `rate` times a second until `stop`, then wait for what is owed."""
        await asyncio.gather(*(self._connect(number) for number in range(self._connections)))
        self._opened = self._connections
        print("begins", flush=True)  # noqa: T201 - the harness waits for it
        start, issued = clock(), 0
        while not stop.is_set():
            now = clock()
            self._lag = max(self._lag, now - start - issued / rate)
            while start + issued / rate <= now:
                self.waiting.append(self._request(start + issued / rate, issued))
                self.owed += 1
                issued += 1
            self._lose_patience(now)
            self.send()
            await asyncio.sleep(TICK)
        await self._settle()
        return Measured(np.frombuffer(self._rows, COLUMNS), self._lag)

    def send(self) -> None:
        """Give what waits to the connections that are free, the oldest first; open more where that is allowed."""
        while self.waiting and self.idle:
            self.idle.popleft().ask(self.waiting.popleft())
        for _ in range(min(len(self.waiting) - len(self._connecting), self._most - self._opened)):
            self.reconnect(self._opened)
            self._opened += 1

    def reconnect(self, number: int) -> None:
        task = asyncio.create_task(self._connect(number))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    def record(self, request: Request, outcome: Outcome, router: int) -> None:
        self.owed -= 1
        self._rows += ROW.pack(request.due, clock() - request.due, outcome, request.sent, router)

    def unanswered(self, request: Request, router: int) -> None:
        """The server closed the connection before it answered: the data never changes, so ask again."""
        if request.sent < MOST_SENT:
            self.waiting.appendleft(request)
        else:
            self.record(request, Outcome.FAILED, router)

    def _lose_patience(self, now: float) -> None:
        """Leave the routers that owe an answer for too long: what they owe is asked elsewhere."""
        late = {each.router for each in self.busy if now - each.asked > self._patience}
        for connection in [each for each in (*self.busy, *self.idle) if each.router in late]:
            connection.leave()

    def _request(self, due: float, number: int) -> Request:
        if number % ABSENT == ABSENT - 1:
            return Request(due, str(UUID(int=self._random.getrandbits(128), version=4)).encode(), None)
        line = self._lines[self._random.randrange(len(self._lines))]
        return Request(due, line[:KEY_LENGTH], line[KEY_LENGTH + 1 :])

    async def _connect(self, number: int) -> None:
        loop = asyncio.get_running_loop()
        router = number % len(self.targets)
        while True:
            try:
                async with asyncio.timeout(self._patience):
                    await loop.create_connection(lambda: Connection(self, number, router), *self.targets[router])
            except OSError:
                await asyncio.sleep(RECONNECT)
            else:
                return

    async def _settle(self) -> None:
        end = clock() + LAST_ANSWERS
        while self.owed and clock() < end:
            self._lose_patience(clock())
            self.send()
            await asyncio.sleep(TICK)
        for task in self._connecting:
            task.cancel()
        for request in self.waiting:
            self.record(request, Outcome.FAILED, 0)
        for connection in list(self.busy):
            assert connection.request is not None
            self.record(connection.request, Outcome.FAILED, connection.router)


class Connection(asyncio.Protocol):
    """One keep-alive connection, with one request on its way at most."""

    def __init__(self, load: Load, number: int, router: int) -> None:
        self.router = router
        self.request: Request | None = None
        self.asked = 0.0
        self._load = load
        self._number = number
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._load.idle.append(self)

    def ask(self, request: Request) -> None:
        self.request = request
        self.asked = clock()
        self._load.busy.add(self)
        request.sent += 1
        self._transport.write(b"GET /%b HTTP/1.1\r\nHost: ringkv\r\n\r\n" % request.key)

    def leave(self) -> None:
        """Ask and wait no more."""
        if self.request is None:
            self._load.idle.remove(self)
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found or len(body) < _content_length(head):
            return
        request, self.request, self._received = self.request, None, b""
        self._load.busy.discard(self)
        assert request is not None
        self._load.record(request, _judge(request, head, body, versioned=self._load.versioned), self.router)
        if b"\r\nConnection: close" in head:
            self._transport.close()
        if self._transport.is_closing():
            return
        self._load.idle.append(self)
        self._load.send()

    def connection_lost(self, _exc: Exception | None) -> None:
        load, request, self.request = self._load, self.request, None
        if request is not None:
            load.busy.discard(self)
            load.unanswered(request, self.router)
        elif self in load.idle:
            load.idle.remove(self)
        load.reconnect(self._number)


def _content_length(head: bytes) -> int:
    _, found, rest = head.partition(b"\r\nContent-Length: ")
    return int(rest.partition(b"\r\n")[0]) if found else 0


def _judge(request: Request, head: bytes, body: bytes, *, versioned: bool) -> Outcome:
    status = head[9:12]
    if status == b"503" and b"\r\nRetry-After: " in head:
        return Outcome.UNAVAILABLE
    if status == b"200":
        if versioned:
            body = body.partition(b" ")[2]  # in front stands the version of which it is
        return Outcome.RIGHT if body == request.expected else Outcome.WRONG
    if status == b"404":
        return Outcome.RIGHT if request.expected is None else Outcome.WRONG
    return Outcome.FAILED


async def _until_told(load: Load, rate: float) -> Measured:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    return await load.run(rate, stop)


@click.command()
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--url", "urls", multiple=True, required=True, help="host:port of a router.")
@click.option("--output", type=click.Path(path_type=Path), required=True)
@click.option("--rate", type=float, default=2100.0, show_default=True, help="Requests a second.")
@click.option("--connections", type=int, default=64, show_default=True)
@click.option("--most", type=int, default=64, show_default=True, help="Connections, where none is free.")
@click.option("--patience", type=float, default=60.0, show_default=True, help="Seconds; then another router is asked.")
@click.option("--versioned", is_flag=True, help="Values begin with a version, which DATA does not have.")
def main(  # noqa: PLR0917 - click passes by name
    data: Path,
    urls: tuple[str, ...],
    output: Path,
    rate: float,
    connections: int,
    most: int,
    patience: float,
    *,
    versioned: bool,
) -> None:
    """Load the routers at `--url` until SIGTERM, then write what was measured."""
    lines = data.read_bytes().removesuffix(b"\n").split(b"\n")
    # A million objects that never go: the collector need not look at them while latencies are measured.
    gc.collect()
    gc.freeze()
    go_first()  # as the servers do: a client that is late itself would tell nothing of them
    targets = [(host, int(port)) for host, _, port in (url.rpartition(":") for url in urls)]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        load = Load(lines, targets, connections, most, patience=patience, versioned=versioned)
        measured = runner.run(_until_told(load, rate))
    measured.write(output)


if __name__ == "__main__":
    main()
