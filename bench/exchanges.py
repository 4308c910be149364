"""A client of one server on a Unix socket: requests that were made before, and replies that are compared byte for byte.

Making a request and parsing its reply would cost the client more than sending it, and the time of a server that shares
the machine.
"""

import gc
import multiprocessing
import selectors
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from bench.errors import BenchmarkFailed
from bench.sample import Pair
from ringkv.resp import codec

READ: Final = 1 << 16

PATIENCE: Final = 30.0
"""Seconds without any reply after which none will come."""

PAUSE: Final = 0.001
"""Seconds between two requests of `asking_meanwhile`: it looks at a server that is busy, and makes it no busier."""


class Exchange(NamedTuple):
    """What is sent, and what has to come back."""

    request: bytes
    reply: bytes


@dataclass(slots=True)
class Asked:
    """The seconds that each of the requests took, and all of them together."""

    times: list[float] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Requests a second."""
        return len(self.times) / self.seconds

    def percentile(self, percent: float) -> float:
        """Seconds."""
        return float(np.percentile(self.times, percent))


def gets(pairs: Sequence[Pair]) -> list[Exchange]:
    """GETs of the Redis protocol."""
    return [Exchange(codec.get_commands([key]), b"$%d\r\n%b\r\n" % (len(value), value)) for key, value in pairs]


def mgets(pairs: Sequence[Pair], keys: int) -> list[Exchange]:
    """MGETs of so many keys each."""
    made = []
    for start in range(0, len(pairs) - keys + 1, keys):
        group = pairs[start : start + keys]
        words = [b"MGET", *(key for key, _ in group)]
        request = b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)
        reply = b"*%d\r\n" % keys + b"".join(b"$%d\r\n%b\r\n" % (len(value), value) for _, value in group)
        made.append(Exchange(request, reply))
    return made


def ask(path: Path, exchanges: Sequence[Exchange], *, connections: int, seconds: float) -> Asked:
    """Ask in order and once, on each connection for one at a time, until all is asked or the time is up.

    Raises BenchmarkFailed at the first wrong reply.
    """
    asked, waiting = Asked(), iter(exchanges)
    selector = selectors.DefaultSelector()
    clients = [_Client(path) for _ in range(min(connections, len(exchanges)))]
    gc.disable()  # to look at all requests and replies that are to come would take a while
    try:
        start = now = time.perf_counter()
        for client in clients:
            client.send(next(waiting))
            selector.register(client.socket, selectors.EVENT_READ, client)
        busy = len(clients)
        while busy:
            ready = selector.select(PATIENCE)
            if not ready:
                raise BenchmarkFailed(f"{path}: no reply in {PATIENCE:.0f} s")
            for key, _ in ready:
                client = key.data
                if not client.receive():
                    continue
                now = time.perf_counter()
                asked.times.append(now - client.sent)
                following = next(waiting, None) if now - start < seconds else None
                if following is None:
                    selector.unregister(client.socket)
                    busy -= 1
                else:
                    client.send(following)
        asked.seconds = now - start
    finally:
        gc.enable()
        selector.close()
        for client in clients:
            client.socket.close()
    return asked


@contextmanager
def asking_meanwhile(path: Path, exchanges: Sequence[Exchange]) -> Iterator[Asked]:
    """Ask for the same again and again, on one connection of a process of its own, while the body runs.

    What is yielded has its times when the body has ended. Raises BenchmarkFailed at a wrong reply.
    """
    context = multiprocessing.get_context("fork")
    stop, (receiver, sender) = context.Event(), context.Pipe(duplex=False)
    process = context.Process(target=_ask_until, args=(path, exchanges, stop, sender), daemon=True)
    process.start()
    sender.close()
    asked = Asked()
    try:
        yield asked
        stop.set()
        found = receiver.recv() if receiver.poll(PATIENCE) else "no reply"
        if isinstance(found, str):
            raise BenchmarkFailed(found)
        asked.times, asked.seconds = found.times, found.seconds
    finally:
        stop.set()
        process.join(PATIENCE)
        receiver.close()


class _Client:
    """One connection, with one request under way since `sent`."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(str(path))
        self._expected = b""
        self._got = b""
        self.sent = 0.0

    def send(self, exchange: Exchange) -> None:
        self._expected, self._got, self.sent = exchange.reply, b"", time.perf_counter()
        self.socket.sendall(exchange.request)

    def receive(self) -> bool:
        """Take what has come; returns whether the reply is complete. Raises BenchmarkFailed for a wrong one."""
        data = self.socket.recv(READ)
        self._got = self._got + data if self._got else data
        if self._got == self._expected:
            return True
        if not data or len(self._got) >= len(self._expected) or not self._expected.startswith(self._got[:64]):
            raise BenchmarkFailed(f"a reply is {self._got[:200]!r} instead of {self._expected[:200]!r}")
        return False


def _ask_until(path: Path, exchanges: Sequence[Exchange], stop: Event, sender: Any) -> None:
    # Who ends this one is the process that has started it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asked = Asked()
    try:
        client = _Client(path)
        start = time.perf_counter()
        for exchange in cycle(exchanges):
            client.send(exchange)
            while not client.receive():
                pass
            asked.times.append(time.perf_counter() - client.sent)
            if stop.wait(PAUSE):
                break
        asked.seconds = time.perf_counter() - start
        sender.send(asked)
    except (BenchmarkFailed, OSError) as error:
        sender.send(f"while others asked too: {error}")
