"""What a client of a shard asks for, and how it is answered: requests look into one version (`shard.lessee`).

GET by itself ──► its value ──► reply, at once
     │              └─► a block has to be read, or fetched ──► reply
     └─► anything else ──► the replies that are known, up to the first that has to wait ──► …
"""

from collections.abc import Collection, Mapping
from functools import partial
from typing import Any, Final

from ringkv.cluster.errors import BlockNotFetched, DatasetError, PartitionNotLeased, RingkvError
from ringkv.cluster.position import (
    SHAPE,
    SHAPE_OF,
    VARIANTS,
    VERSION,
    are_canonical,
    canonical,
    slot,
    slot_shift,
)
from ringkv.resp import codec
from ringkv.resp.command import Command
from ringkv.resp.limits import FLUSH_BYTES
from ringkv.resp.pending import Awaited, Pending
from ringkv.resp.reads import GET_BYTES
from ringkv.shard.body import NotInMemory, Read
from ringkv.shard.cold import Cold
from ringkv.shard.heat import WORK_SHIFT
from ringkv.shard.lessee import Lessee
from ringkv.shard.node import ClusterNode
from ringkv.shard.reading import Make, Reading
from ringkv.shard.refusal import refusal
from ringkv.shard.state import ShardState
from ringkv.shard.version import Version

_HEAD: Final = slice(len(codec.GET))
_KEY: Final = slice(len(codec.GET), -2)
_VERSION: Final = len(codec.GET) + 14
_VARIANT: Final = len(codec.GET) + 19
"""The parts of a GET, and where its key says that it is one."""

_SHAPE: Final = codec.GET.translate(SHAPE_OF) + SHAPE + b"\r\n"


class ShardConnection(Lessee):
    def __init__(self, state: ShardState, commands: Mapping[bytes, Command[Any]]) -> None:
        super().__init__(state, commands)
        self.heat = state.heat

    def data_received(self, data: bytes) -> None:
        # Clients of a Redis Cluster send hardly anything but this: one GET, with nothing else under way. Through the
        # functions that know all that a client may send, it would take twice as long.
        if (
            len(data) == GET_BYTES
            and data.translate(SHAPE_OF) == _SHAPE
            and data[_HEAD] == codec.GET
            and data[_VERSION] == VERSION
            and data[_VARIANT] in VARIANTS
            and self._free
            and not self._pending
            and self._requests.idle
            and self._usual
        ):
            key = data[_KEY]
            try:
                found = self.ask(key)
            except (DatasetError, NotInMemory, ValueError):
                pass  # the usual way says why
            else:
                if isinstance(found, Read):
                    self.expect(self.read_one(key, found), 1)
                else:
                    self.state.commands += 1
                    self.answered += 1
                    self._transport.write(self.value(key, found, self.null))
                return
        super().data_received(data)

    def gets(self, keys: list[bytes]) -> int:
        """As `Connection.gets`: up to the first key that has to be waited for, or FLUSH_BYTES of replies."""
        # Only routers have leases, and they have checked their keys already. A key by itself comes here only where
        # `data_received` could not answer it.
        if len(keys) == 1 or (self.lease is None and not are_canonical(keys)):
            return 0
        parts: list[bytes] = []
        null, heads, answered, size = self.null, codec.HEADS, 0, 0
        cold: Read | None = None
        try:
            for value in self.store.each(keys):
                if value is None:
                    parts.append(null)
                else:
                    parts += (heads[len(value)], value, b"\r\n")
                    size += len(value)
                answered += 1
                if size >= FLUSH_BYTES:
                    break
        except NotInMemory as missing:
            cold = missing.read
        except (DatasetError, ValueError):
            pass  # suppress() would take half a microsecond
        if answered:
            self._write(parts, answered)
            heat = self.heat
            heat.skip -= answered + (size >> WORK_SHIFT)
            if heat.skip < 0:
                self.note(keys[:answered])
        if cold is None:
            return answered
        self.expect(self.read_one(keys[answered], cold), 1)
        return answered + 1

    def value(self, key: bytes, value: bytes | None, null: bytes) -> bytes:
        """The reply to GET of a key, whose work is counted."""
        heat = self.heat
        if value is None:
            heat.skip -= 1
            reply = null
        else:
            size = len(value)
            heat.skip -= 1 + (size >> WORK_SHIFT)
            reply = b"%b%b\r\n" % (codec.HEADS[size], value)
        if heat.skip < 0:
            self.note([key])
        return reply

    def worked(self, keys: list[bytes], size: int) -> None:
        """Count the work of a reply with values of these keys, of `size` bytes."""
        self.heat.skip -= len(keys) + (size >> WORK_SHIFT)
        if self.heat.skip < 0:
            self.note(keys)

    def note(self, keys: list[bytes]) -> None:
        """Have some of the keys counted that were answered."""
        about = self.version.about
        self.heat.note(keys, about.dataset_id, about.partitions)

    def read(self, version: Version, missing: Collection[Read], make: Make) -> Pending:
        """The reply that `make` makes, once these blocks of a version, each of them another one, have been read."""
        for read in missing:
            version.warmup.hurry(read.block // version.store.blocks.width)
        make = partial(self.as_asked, self.null, make)
        return Reading(self.notify, self.has, version.store.blocks, make).begin(version.reads, missing)

    def read_one(self, key: bytes, missing: Read) -> Pending:
        """The reply to GET of a canonical key, once its block has been read."""
        version, reply = self.version, Cold(self, key)
        version.warmup.hurry(missing.block // version.store.blocks.width)
        version.reads.begin(missing, reply.arrived)
        return reply

    def as_asked(self, null: bytes, make: Make) -> bytes | Pending:
        """What `make` makes, with the null of the dialect in which it was asked for.

        While blocks were read, a HELLO or RESET behind the request may have been answered.
        """
        now, self.null = self.null, null
        try:
            return make()
        finally:
            self.null = now

    def other_version(self, error: RingkvError, key: bytes) -> Version | None:
        """Another version in which a direct client's key is leased, where it is not in that of the connection.

        While routers go over to another version and another ring at once, shards hear of it one after the other: two of
        them might send the client to each other.
        """
        if not self.direct or isinstance(error, BlockNotFetched) or not isinstance(error, PartitionNotLeased):
            return None
        place = slot(canonical(key))
        return self.state.versions.other(self.version, lambda version: place >> slot_shift(version.about.partitions))

    def refusal(self, error: RingkvError, key: bytes) -> bytes:
        """The reply where a key cannot be read here."""
        cluster = self.state.cluster
        return cluster.redirect(error, key) if self.direct and cluster is not None else refusal(error)

    def redirection(self, error: RingkvError, key: bytes) -> bytes | Pending:
        """The same; but while a direct client's owner is not known yet, the reply waits for that."""
        cluster = self.state.cluster
        if self.direct and cluster is not None and cluster.learns:
            return Awaited(self.notify, _redirected(cluster, error, key))
        return self.refusal(error, key)


async def _redirected(cluster: ClusterNode, error: RingkvError, key: bytes) -> bytes:
    await cluster.settled()
    return cluster.redirect(error, key)
