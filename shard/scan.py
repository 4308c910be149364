"""A shard's keys page by page: for SCAN and its kind, and for routers, which ask with KEYSFROM."""

from functools import partial
from typing import Final

from ringkv.cluster.cursor import CURSORS
from ringkv.cluster.errors import CorruptBlock, DatasetError, PartitionNotLeased
from ringkv.cluster.limits import SCAN_KEYS
from ringkv.resp import codec
from ringkv.resp.command import Args, Command
from ringkv.resp.pending import Pending
from ringkv.resp.scan import Keys, Page
from ringkv.shard.body import NotInMemory
from ringkv.shard.connection import ShardConnection
from ringkv.shard.refusal import refusal

PAGE_BLOCKS: Final = 1000
"""How many blocks, and partitions that are not leased, one page looks at, at most: it takes a millisecond."""


def keys_from(client: ShardConnection, args: Args) -> bytes | Pending:
    """`KEYSFROM cursor count`: the next keys of the cursor's block, whose partition has to be leased.

    The reply is the cursor to go on with, which lies behind the block at the latest, and the keys.
    """
    try:
        cursor, count = map(codec.parse_integer, args[1:])
        if not (0 <= cursor < CURSORS and 0 < count <= SCAN_KEYS):
            return codec.error("ERR", f"want KEYSFROM <cursor below {CURSORS}> <count, at most {SCAN_KEYS}>")
        after, keys = client.store.keys_from(cursor, count)
    except ValueError as error:
        return codec.error("ERR", str(error))
    except NotInMemory as missing:
        return client.read(client.version, [missing.read], partial(keys_from, client, args))
    except DatasetError as error:
        return refusal(error)
    return codec.array([codec.integer(after), codec.array([codec.bulk(key) for key in keys])])


async def page(client: ShardConnection, cursor: int, count: int) -> Page:
    """The next keys that are leased here, about `count`.

    Raises CorruptBlock, and PartitionNotLeased where a block that is leased cannot be read now.
    """
    keys: list[bytes] = []
    for _ in range(PAGE_BLOCKS):
        version = client.version
        try:
            look = partial(version.store.keys_from, cursor, count - len(keys))
            cursor, found = await version.reads.patiently(look)
            keys += found
        except PartitionNotLeased:
            if version is not client.version:
                continue  # the version was replaced meanwhile; cursors are places in the next one too
            if version.store.has_leased(cursor):
                if keys:
                    break  # the next page says so
                raise
            cursor = version.store.next_partition(cursor)
        except CorruptBlock:
            if keys:
                break  # the next page says so
            raise
        if not cursor or len(keys) >= count:
            break
    return cursor, keys


_KEYS: Keys[ShardConnection] = Keys(lambda client: client.store.blocks.keys, page, refusal)

COMMANDS: dict[bytes, Command[ShardConnection]] = {
    **_KEYS.commands(),
    b"KEYSFROM": Command(keys_from, 3),
}
