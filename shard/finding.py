"""How a command finds the value of a key, which may be in upper case, be none, or have a value that is large."""

from collections.abc import Callable, Iterable

from ringkv.cluster.errors import InvalidKey, LargeValue
from ringkv.cluster.limits import MAX_BATCH
from ringkv.cluster.position import canonical, is_canonical
from ringkv.resp.strings import Unread, Value
from ringkv.shard.large import BoundedStore
from ringkv.shard.store import Store

Find = Callable[[Store, bytes], Value | None]
"""What finds the value of a key, or its size."""


def key_among(keys: Iterable[bytes]) -> bytes:
    """The first of these that is a key, as it was asked for: at least one is, if one of them could not be read."""
    return next(key for key in keys if is_canonical(key.lower()))


def value_of(store: Store, key: bytes) -> bytes | None:
    """The value of a key in upper or lower case; None also for what is not a UUID version 4. Raises as Store.get."""
    if not is_canonical(key):
        try:
            key = canonical(key)
        except InvalidKey:
            return None
    return store.get(key)


def fitting(store: Store, key: bytes) -> bytes | None:
    """As `value_of`, for values that a reply of MAX_BATCH bytes has room for. Raises LargeValue for others."""
    try:
        return value_of(store, key)
    except LargeValue as large:
        if large.size > MAX_BATCH or not isinstance(store, BoundedStore):
            raise
        return store.piece(canonical(key), 0, large.size)


def value_or_size(store: Store, key: bytes) -> Value | None:
    """As `value_of`, but of a large value only its size."""
    try:
        return value_of(store, key)
    except LargeValue as large:
        return Unread(large.size)
