"""A RESP connection that writes any bytes and reads one reply at a time."""

import socket
from typing import Any, Final

import hiredis
from redis.backoff import NoBackoff
from redis.retry import Retry

from ringkv.cluster.lease import LeaseRequest
from ringkv.cluster.ring import Ring
from ringkv.resp import codec

AT_ONCE: Final = Retry(NoBackoff(), 1)
"""For `redis.Redis(retry=…)` where a refusal is expected: to redis-py it is a lost connection, after which it would try
ten times more, for 3 s."""


class Client:
    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self._reader = codec.reader()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def read(self) -> Any:
        """The next reply; an error is returned. Raises ConnectionError at the end of the connection."""
        while (reply := self._reader.gets()) is codec.NOT_ENOUGH:
            data = self.socket.recv(1 << 20)
            if not data:
                raise ConnectionError("closed")
            self._reader.feed(data)
        return reply

    def __call__(self, *args: bytes | str | int) -> Any:
        self.send(command(*args))
        return self.read()

    def lease(self, dataset_id: str, ring: Ring) -> Any:
        return self(*LeaseRequest(dataset_id, ring.ring_id, ring.replicas, ring.names).command())

    def info(self) -> dict[str, str]:
        text = self("INFO").decode()
        return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


def command(*args: bytes | str | int) -> bytes:
    packed: bytes = hiredis.pack_command(args)  # type: ignore[arg-type]
    return packed
