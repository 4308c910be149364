"""The keys of one partition, asked of one of its owners: for SCAN, and for the gate, which draws some."""

from ringkv.cluster.cursor import CURSORS
from ringkv.cluster.errors import PeerError
from ringkv.cluster.position import is_canonical
from ringkv.resp.scan import Page
from ringkv.router.lookup.link import Link


async def keys_from(link: Link, cursor: int, count: int) -> Page:
    """The next keys of the cursor's block, about `count`. Raises PeerError, ConnectionError."""
    match await link.call("KEYSFROM", cursor, count):
        case [int(after), list(keys)] if after == 0 or cursor < after < CURSORS:
            if all(type(key) is bytes and is_canonical(key) for key in keys):
                return after, keys
            raise PeerError("what answers there tells keys that are none")
        case _:
            raise PeerError("what answers there does not tell keys as a shard does")
