"""A large value for a client that is no router: sent whole, once there is memory for it and all before it is sent."""

import asyncio
from functools import partial
from typing import Final

from ringkv.cluster.errors import DatasetError
from ringkv.resp import codec
from ringkv.resp.pending import Pending
from ringkv.shard.connection import ShardConnection

PATIENCE: Final = 5.0
"""Seconds for which a client waits for memory: as long as at a router."""


class LargeReply(Pending):
    """The reply to GET of a canonical key, whose value has `size` bytes."""

    __slots__ = ("_client", "_key", "_reading", "_size", "_version")

    def __init__(self, client: ShardConnection, key: bytes, size: int) -> None:
        super().__init__(client.notify)
        self._client = client
        self._version = client.version
        self._key = key
        self._size = size
        self._reading: asyncio.Task[None] | None = None

    def start(self) -> Pending:
        """Begin. Between MULTI and EXEC the reply is a part of another one, and so gets no turn of its own."""
        if self._client.executing:
            self._reading = asyncio.create_task(self._read())
        else:
            self._client.notify()
        return self

    def turn(self) -> None:
        if self._reading is None:
            self._reading = asyncio.create_task(self._read())

    def abandon(self) -> None:
        if self._reading is not None:
            self._reading.cancel()

    async def _read(self) -> None:
        client, version = self._client, self._version
        alone = client.has(self)
        try:
            async with asyncio.timeout(PATIENCE):
                # As a part of another reply it will be copied once more.
                claim = await client.guard.budget.claim(self._size if alone else 2 * self._size)
            value = await version.reads.patiently(partial(version.store.get, self._key))
        except TimeoutError:
            self.answer(codec.error("TRYAGAIN", f"no memory for a value of {self._size} bytes; try again later"))
        except DatasetError as error:
            self.answer(client.refusal(error, self._key))
        else:
            if not alone or value is None:
                client.keep(claim)
                self.answer(client.null if value is None else codec.bulk(value))
                return
            client.about_to_send([claim])
            client.send(b"$%d\r\n" % len(value))
            client.send(value)
            self.answer(b"\r\n")
