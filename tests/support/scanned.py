"""How fake shards tell their keys to who scans them."""

from bisect import bisect_left

from ringkv.cluster.cursor import CURSORS, behind, cell
from ringkv.cluster.position import position
from ringkv.resp import codec
from tests.support.fake_shard import PARTITIONS, FakeShard, KeysAnswer


def telling(keys: list[bytes], partitions: int = PARTITIONS) -> KeysAnswer:
    """KEYSFROM of a shard that has all of these keys loaded, which are sorted by their position."""
    cells = CURSORS // partitions
    places = [cell(position(key)) for key in keys]

    def answer(_shard: FakeShard, cursor: int, count: int) -> bytes:
        border = (cursor // cells + 1) * cells
        found = keys[bisect_left(places, cursor) : bisect_left(places, border)]
        after = behind(position(found[count - 1])) if len(found) > count else border % CURSORS
        return codec.array([codec.integer(after), codec.array([codec.bulk(key) for key in found[:count]])])

    return answer
