"""GET of a key whose block is not in memory: the reply is made of the block when that has come, with one lookup.

block ──► as it was when it was asked for, leased and right? ──► search, reply
            └─► anything else: the whole lookup once more (`shard.reading`)
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, cast

from ringkv.dataset.block import value_in
from ringkv.dataset.dataset import Dataset
from ringkv.shard.blocks import Blocks
from ringkv.shard.body import Body, Read
from ringkv.shard.reading import Make, Reading
from ringkv.shard.store import Store

if TYPE_CHECKING:
    from ringkv.shard.connection import ShardConnection


class AskingStore(Store):
    """A store that shares the blocks of another one, for who asks for a key and may have to wait."""

    def __init__(self, dataset: Dataset, blocks: Blocks) -> None:
        super().__init__(dataset, blocks)
        self.ask: Callable[[bytes], bytes | Read | None] = self.get
        """As `Store.get`; but of a block that is not in memory its read is returned. NotInMemory may be raised too."""

    def _read(self, key: bytes, block: int) -> bytes | None:
        found = self.blocks.look(block)
        if isinstance(found, Read):
            # Raised through four functions, it would cost as much as reading the block from the cache of pages.
            return cast("bytes", found)
        row, body = found
        return value_in(body, row.keys, key)


class Cold(Reading):
    """Waits for the block of one key, which is canonical."""

    __slots__ = ("_client", "_key", "_null", "_store")

    def __init__(self, client: "ShardConnection", key: bytes) -> None:
        # What only the whole lookup needs is left to it: hardly any comes to that.
        self.notify = client.notify
        self.count = 1
        self.reply = None
        self._made = None
        self._client = client
        self._key = key
        self._null = client.null
        self._store = client.store

    def arrived(self, read: Read, body: Body) -> None:
        """As `Arrived`."""
        client, store = self._client, self._store
        # Values that may be large are not sent like this.
        if client.store is not store or store is not client.version.store or not store.blocks.proves(read, body):
            self._look_up(read, body)
            return
        value = value_in(cast("bytes | bytearray", body), read.row.keys, self._key)
        self.reply = client.value(self._key, value, self._null)
        client.deliver(self)

    def _look_up(self, read: Read, body: Body) -> None:
        client = self._client
        make = cast("Make", partial(client.commands[b"GET"].handler, client, [b"GET", self._key]))
        make = partial(client.as_asked, self._null, make)
        Reading.__init__(self, self.notify, client.has, self._store.blocks, make)
        self._unread = 1
        self._arrived(read, body)
