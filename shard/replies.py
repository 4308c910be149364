"""A large value for a client that is no router: sent whole, once there is memory for it and all before it is sent."""

import asyncio
from dataclasses import dataclass
from functools import partial

from ringkv.cluster.errors import DatasetError
from ringkv.cluster.limits import LARGE_VALUE
from ringkv.process.budget import Claim
from ringkv.resp import codec
from ringkv.resp.claiming import COPIES
from ringkv.resp.pending import Pending
from ringkv.resp.strings import Span
from ringkv.shard.connection import ShardConnection
from ringkv.shard.refusal import no_memory
from ringkv.shard.version import Version


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a reply has of a value: the wanted part of it between `head` and `tail`, or `null` if there is no value."""

    null: bytes
    head: bytes = b""
    tail: bytes = b""
    span: Span = lambda size: (0, size)

    def reply(self, value: bytes | None) -> bytes:
        if value is None:
            return self.head + self.null + self.tail
        start, stop = self.span(len(value))
        return self.head + codec.bulk(value[start:stop]) + self.tail


class LargeReply(Pending):
    """The reply with what is wanted of the large value of a canonical key.

    It may wait for long until it is sent. So its partition stays leased, and its version open, until then.
    """

    __slots__ = ("_client", "_kept", "_key", "_reading", "_span", "_version", "_wanted")

    def __init__(self, client: ShardConnection, version: Version, key: bytes, wanted: Wanted, size: int) -> None:
        super().__init__(client.notify)
        self._client = client
        self._version = version
        self._key = key
        self._wanted = wanted
        self._span = wanted.span(size)
        self._kept = version.leases.keep(version.store.block_of(key) // version.store.blocks.width)
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
        self._let_go()

    def _let_go(self) -> None:
        self._version.leases.end(self._kept)
        self._client.state.versions.tidy()

    async def _read(self) -> None:
        client, version, wanted = self._client, self._version, self._wanted
        start, stop = self._span
        size = stop - start
        alone = client.has(self)
        claims: list[Claim] = []
        try:
            if size > LARGE_VALUE:
                claims.append(await client.guard.budget.claim(size if alone else COPIES * size))
            value = await version.reads.patiently(partial(version.bounded.piece, self._key, start, stop))
            assert value is not None  # as its size was told
        except TimeoutError:
            self.answer(codec.error("TRYAGAIN", no_memory(size)))
        except DatasetError as error:
            self.answer(client.refusal(error, self._key))
        else:
            if not alone:
                client.keep(claims)
                self.answer(wanted.head + codec.bulk(value) + wanted.tail)
                return
            client.about_to_send(claims)
            client.send(b"%b$%d\r\n" % (wanted.head, size))
            client.send(value)
            self.answer(b"\r\n" + wanted.tail)
        finally:
            self._let_go()
