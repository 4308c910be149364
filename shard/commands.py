"""The commands of a shard: from the arguments of one request to the bytes of its reply."""

import json
from collections.abc import Callable, Iterator
from functools import partial

from ringkv.cluster.errors import DatasetError, InvalidKey
from ringkv.cluster.lease import TOO_LARGE, Heartbeat, LeaseRequest, too_large
from ringkv.cluster.limits import MAX_BATCH, MAX_VALUE, SMALL_VALUE
from ringkv.cluster.position import are_canonical, canonical, is_canonical
from ringkv.resp import codec, config, protocol, strings
from ringkv.resp.command import Args, Command
from ringkv.resp.pending import Pending
from ringkv.shard import scan
from ringkv.shard.body import NotInMemory
from ringkv.shard.connection import ShardConnection
from ringkv.shard.refusal import refusal
from ringkv.shard.roomy import Roomy
from ringkv.shard.store import LargeValue, Store

Make = Callable[[Iterator[bytes | None]], bytes]
"""From the values of keys, in their order, to the reply."""


def value_of(store: Store, key: bytes, most: int = MAX_VALUE) -> bytes | None:
    """The value of a key in upper or lower case; None also for what is not a UUID version 4. Raises as Store.get."""
    if not is_canonical(key):
        try:
            key = canonical(key)
        except InvalidKey:
            return None
    return store.get(key, most)


def get(client: ShardConnection, args: Args) -> bytes | Pending:
    key = args[1]
    try:
        value = client.store.get(key, SMALL_VALUE) if is_canonical(key) else value_of(client.store, key, SMALL_VALUE)
    except LargeValue as large:
        if client.lease is not None:
            return codec.error(TOO_LARGE, too_large(large.size))
        return _roomy(client, large.size, [key], lambda values: _bulk(next(values), client.null))
    except NotInMemory as missing:
        return client.read({missing.block}, partial(get, client, args))
    except DatasetError as error:
        return refusal(error)
    return client.null if value is None else b"$%d\r\n%b\r\n" % (len(value), value)


def _bulk(value: bytes | None, null: bytes) -> bytes:
    return null if value is None else codec.bulk(value)


def _roomy(client: ShardConnection, size: int, keys: list[bytes], reply: Make) -> Pending:
    """The reply made of the values of all keys, when there is room for its `size` bytes."""
    return Roomy(client.notify, client.state.guard.budget, size, partial(_values, client, keys, reply, roomy=True))


def _values(
    client: ShardConnection, keys: list[bytes], reply: Make, *, most: int = MAX_VALUE, roomy: bool = False
) -> bytes | Pending:
    """The reply made of the values of all keys, or the error of the first key that cannot be read here.

    No value may have more than `most` bytes. Where the reply is large, it is made when there is room, unless there is.
    """
    store = client.store
    get: Callable[[bytes], bytes | None]
    get = partial(store.get, most=most) if are_canonical(keys) else partial(value_of, store, most=most)
    try:
        made = reply(map(get, keys))
    except LargeValue as large:
        return codec.error(TOO_LARGE, f"a value has {large.size} bytes: ask for it by itself")
    except NotInMemory:
        missing = _missing(keys, get)
        return client.read(missing, partial(_values, client, keys, reply, most=most, roomy=roomy))
    except DatasetError as error:
        return refusal(error)
    if len(made) > SMALL_VALUE and not roomy and client.lease is None:
        return _roomy(client, len(made), keys, reply)
    return made


def _missing(keys: list[bytes], get: Callable[[bytes], bytes | None]) -> set[int]:
    """All blocks that would have to be waited for: they are read side by side."""
    found = set()
    for key in keys:
        try:
            get(key)
        except NotInMemory as missing:
            found.add(missing.block)
        except (DatasetError, LargeValue):
            continue
    return found


def getrange(client: ShardConnection, args: Args) -> bytes | Pending | None:
    """`GETRANGE key first last`. A router reads large values so, part by part: nothing is copied but the part."""
    if client.lease is not None and is_canonical(args[1]):
        try:
            client.store.get(args[1], SMALL_VALUE)
        except LargeValue as large:
            return _part(large, args[2:])
        except (NotInMemory, DatasetError):
            pass  # as for any value
    return _GETRANGE.handler(client, args)


def _part(large: LargeValue, args: Args) -> bytes:
    try:
        first, last = map(codec.parse_integer, args)
    except ValueError as error:
        return codec.error("ERR", str(error))
    if 0 <= first <= last < first + MAX_BATCH:
        return codec.bulk(large.part(first, last + 1))
    return codec.error(TOO_LARGE, f"{large.size} bytes: read at most {MAX_BATCH} at once")


def mget(client: ShardConnection, args: Args) -> bytes | Pending:
    most = MAX_VALUE if client.lease is None else SMALL_VALUE
    return _values(client, args[1:], lambda values: _bounded(values, client.null), most=most)


def _bounded(values: Iterator[bytes | None], null: bytes) -> bytes:
    """All values in one reply, or an error as soon as they have more bytes than one reply may have."""
    found: list[bytes | None] = []
    room = MAX_BATCH
    for value in values:
        found.append(value)
        if value is not None:
            room -= len(value)
            if room < 0 and len(found) > 1:
                return codec.error(
                    TOO_LARGE, f"the values have more than {MAX_BATCH} bytes: ask for fewer keys at once"
                )
    return codec.values(found, null)


def exists(client: ShardConnection, args: Args) -> bytes | Pending:
    return _values(client, args[1:], lambda values: codec.integer(sum(value is not None for value in values)))


def _read_one(client: ShardConnection, key: bytes, encode: Callable[[bytes | None], bytes]) -> bytes | Pending:
    return _values(client, [key], lambda values: encode(next(values)))


def explain(client: ShardConnection, args: Args) -> bytes | Pending:
    """How the lookup of a key goes here, as JSON; the position is a string, since JSON's numbers end at 2^53."""
    try:
        key = canonical(args[1])
    except InvalidKey as error:
        return codec.error("ERR", str(error))
    dataset = client.store.dataset
    try:
        explanation = client.store.explain(key)
    except NotInMemory as missing:
        return client.read({missing.block}, partial(explain, client, args))
    about = {
        "name": client.state.name,
        "dataset": dataset.manifest.dataset_id,
        "file": str(dataset.segments[dataset.segment_of(explanation.partition)].path),
    }
    return codec.bulk(json.dumps(about | explanation._asdict() | {"position": str(explanation.position)}))


def dbsize(client: ShardConnection, _args: Args) -> bytes:
    return codec.integer(client.store.blocks.keys)


def heartbeat(client: ShardConnection, _args: Args) -> bytes:
    """`HEARTBEAT`: for routers, which see by it that the shard lives, how warm it is, and what changes."""
    versions = client.state.versions
    checked = versions.told.store.blocks.checked_bytes
    return codec.simple(Heartbeat(client.state.draining, checked, versions.revision).reply())


def lease(client: ShardConnection, args: Args) -> bytes | Pending:
    if not client.authenticated:
        return codec.error("NOAUTH", "LEASE needs AUTH first: this shard has a secret ($RINGKV_SECRET)")
    if client.lease is not None:
        return codec.error("ERR", "this connection holds a lease already: one connection, one lease")
    try:
        return client.grant(LeaseRequest.parse(args[1:]))
    except ValueError as error:
        return codec.error("ERR", str(error))


_ONE_KEY = strings.commands(_read_one)
_GETRANGE = _ONE_KEY[b"GETRANGE"]

COMMANDS: dict[bytes, Command[ShardConnection]] = {
    **protocol.PROTOCOL,
    **config.COMMANDS,
    **_ONE_KEY,
    **scan.COMMANDS,
    b"GET": Command(get, 2, 1, 1),
    b"GETRANGE": Command(getrange, 4, 1, 1),
    b"MGET": Command(mget, -2, 1, -1),
    b"EXISTS": Command(exists, -2, 1, -1),
    b"TOUCH": Command(exists, -2, 1, -1),
    b"EXPLAIN": Command(explain, 2, 1, 1),
    b"DBSIZE": Command(dbsize, 1),
    b"HEARTBEAT": Command(heartbeat, 1),
    b"LEASE": Command(lease, -1, queues=False),
}
