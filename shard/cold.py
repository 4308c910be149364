"""The reply to a GET whose block is not in memory: made of the block when that has come, and not looked up twice.

block ──► as it was when it was asked for, leased and right? ──► search, reply
            └─► anything else: the whole lookup once more (`shard.reading`)
"""

from functools import partial
from typing import TYPE_CHECKING, cast

from ringkv.dataset.block import value_in
from ringkv.resp.codec import HEADS
from ringkv.shard.body import Body, Read
from ringkv.shard.heat import WORK_SHIFT
from ringkv.shard.reading import Make, Reading

if TYPE_CHECKING:
    from ringkv.shard.connection import ShardConnection


class Cold(Reading):
    """Waits for the block of one key, which is canonical."""

    __slots__ = ("_client", "_key", "_store")

    def __init__(self, client: "ShardConnection", key: bytes) -> None:
        # What only the whole lookup needs is left to it: hardly any comes to that.
        self.notify = client.notify
        self.count = 1
        self.reply = None
        self._made = None
        self._client = client
        self._key = key
        self._store = client.store

    def arrived(self, read: Read, body: Body) -> None:
        """As `Arrived`."""
        client, store = self._client, self._store
        # Values that may be large are not sent like this.
        if client.store is not store or store is not client.version.store or not store.blocks.proves(read, body):
            self._look_up(read, body)
            return
        value = value_in(cast("bytes", body), read.row.keys, self._key)
        heat = client.heat
        heat.skip -= 1 if value is None else 1 + (len(value) >> WORK_SHIFT)
        if heat.skip < 0:
            client.note([self._key])
        self.reply = client.null if value is None else b"%b%b\r\n" % (HEADS[len(value)], value)
        client.deliver(self)

    def _look_up(self, read: Read, body: Body) -> None:
        client = self._client
        make = partial(client.commands[b"GET"].handler, client, [b"GET", self._key])
        Reading.__init__(self, self.notify, client.has, self._store.blocks, cast("Make", make))
        self._unread = 1
        self._arrived(read, body)
