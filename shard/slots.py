"""CLUSTER on a shard: what every server tells of slots, and the keys of one of them that are leased here."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

from ringkv.cluster.cursor import CURSORS
from ringkv.cluster.errors import DatasetError, PartitionNotLeased
from ringkv.cluster.limits import SCAN_KEYS
from ringkv.cluster.position import SLOTS, slot
from ringkv.resp import cluster, codec
from ringkv.resp.codec import parse_integer
from ringkv.resp.command import Args, wrong_number
from ringkv.resp.pending import Awaited, Pending
from ringkv.shard.connection import ShardConnection
from ringkv.shard.refusal import refusal

_CELLS: Final = CURSORS // SLOTS
"""Cursors of one slot."""


def cluster_(client: ShardConnection, args: Args) -> bytes | Pending:
    """`CLUSTER …` of any server, COUNTKEYSINSLOT and GETKEYSINSLOT."""
    what = args[1].upper()
    if client.state.cluster is None or what not in {b"COUNTKEYSINSLOT", b"GETKEYSINSLOT"}:
        return cluster.cluster(client, args)
    counts = what == b"COUNTKEYSINSLOT"
    if len(args) != (3 if counts else 4):
        return wrong_number(f"cluster|{what.decode()}")
    try:
        wanted = cluster.slot_of(args[2])
        most = None if counts else parse_integer(args[3])
    except ValueError as error:
        return codec.error("ERR", str(error))
    if most is not None and most < 0:
        return codec.error("ERR", "Invalid number of keys")
    return Awaited(client.notify, _reply(client, wanted, most, _counted if counts else _listed))


def _counted(keys: list[bytes]) -> bytes:
    return codec.integer(len(keys))


def _listed(keys: list[bytes]) -> bytes:
    return codec.array([codec.bulk(key) for key in keys])


async def _reply(
    client: ShardConnection, wanted: int, most: int | None, encode: Callable[[list[bytes]], bytes]
) -> bytes:
    """The reply made of the first `most` keys of a slot, or of all."""
    version = client.version
    keys: list[bytes] = []
    cursor, end = wanted * _CELLS, (wanted + 1) * _CELLS
    try:
        while cursor < end and (most is None or len(keys) < most):
            cursor, found = await version.reads.patiently(partial(version.store.keys_from, cursor, SCAN_KEYS))
            # A partition of several slots is one block, whose keys come together.
            keys += [key for key in found if slot(key) == wanted]
            cursor = cursor or CURSORS
            await asyncio.sleep(0)  # others come between two pages
    except DatasetError as error:
        # As in Redis there is none here of a slot that is another node's.
        if not isinstance(error, PartitionNotLeased) or version.store.has_leased(cursor):
            return refusal(error)
    return encode(keys if most is None else keys[:most])
