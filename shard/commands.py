"""The commands of a shard: from the arguments of one request to the bytes of its reply."""

import json
from collections.abc import Callable, Iterator
from functools import partial

from cluster import protocol, resp
from cluster.command import Args, Command
from cluster.errors import CorruptPartition, InvalidKey, PartitionNotLoaded
from cluster.lease import CORRUPT, DRAINING, NOT_LOADED, TOO_LARGE, LeaseRequest
from cluster.limits import MAX_BATCH
from cluster.pending import Pending
from cluster.position import are_canonical, canonical, is_canonical
from shard.connection import ShardConnection
from shard.store import Store


def value_of(store: Store, key: bytes) -> bytes | None:
    """The value of a key in any case; None for one that is in no dataset. Raises as Store.get."""
    if not is_canonical(key):
        try:
            key = canonical(key)
        except InvalidKey:
            return None
    return store.get(key)


def get(client: ShardConnection, args: Args) -> bytes:
    key = args[1]
    try:
        value = client.store.get(key) if is_canonical(key) else value_of(client.store, key)
    except PartitionNotLoaded as error:
        return resp.error(NOT_LOADED, str(error))
    except CorruptPartition as error:
        return resp.error(CORRUPT, str(error))
    return client.null if value is None else b"$%d\r\n%b\r\n" % (len(value), value)


def _values(store: Store, keys: list[bytes], reply: Callable[[Iterator[bytes | None]], bytes]) -> bytes:
    """The reply made of the values of all keys, or the error of the first one that cannot be told."""
    get = store.get if are_canonical(keys) else partial(value_of, store)
    try:
        return reply(map(get, keys))
    except PartitionNotLoaded as error:
        return resp.error(NOT_LOADED, str(error))
    except CorruptPartition as error:
        return resp.error(CORRUPT, str(error))


def mget(client: ShardConnection, args: Args) -> bytes:
    return _values(client.store, args[1:], lambda values: _bounded(values, client.null))


def _bounded(values: Iterator[bytes | None], null: bytes) -> bytes:
    """All values in one reply, or an error as soon as they are too large to be together in one."""
    found = [next(values)]
    room = MAX_BATCH - len(found[0] or b"")
    for value in values:
        found.append(value)
        if value is not None:
            room -= len(value)
            if room < 0:
                return resp.error(TOO_LARGE, f"the values have more than {MAX_BATCH} bytes: ask for fewer keys at once")
    return resp.values(found, null)


def exists(client: ShardConnection, args: Args) -> bytes:
    return _values(client.store, args[1:], lambda values: resp.integer(sum(value is not None for value in values)))


def strlen(client: ShardConnection, args: Args) -> bytes:
    return _values(client.store, args[1:], lambda values: resp.integer(len(next(values) or b"")))


def explain(client: ShardConnection, args: Args) -> bytes:
    """How the lookup of a key goes here, as JSON; the position is a string, since JSON's numbers end at 2^53."""
    try:
        key = canonical(args[1])
    except InvalidKey as error:
        return resp.error("ERR", str(error))
    state = client.state
    packed = client.store.packed
    explanation = client.store.explain(key)
    about = {"name": state.name, "dataset": packed.header.dataset_id, "file": str(packed.path)}
    return resp.bulk(json.dumps(about | explanation._asdict() | {"position": str(explanation.position)}))


def dbsize(client: ShardConnection, _args: Args) -> bytes:
    return resp.integer(client.store.keys)


def ping(client: ShardConnection, args: Args) -> bytes:
    if len(args) == 1 and client.state.draining:
        return resp.simple(DRAINING)
    return protocol.ping(client, args)


def lease(client: ShardConnection, args: Args) -> bytes | Pending:
    if not client.authenticated:
        return resp.error("NOAUTH", "LEASE needs AUTH first: this shard has a secret ($RINGKV_SECRET)")
    if client.lease is not None:
        return resp.error("ERR", "this connection holds a lease already: one connection, one lease")
    try:
        return client.grant(LeaseRequest.parse(args[1:]))
    except ValueError as error:
        return resp.error("ERR", str(error))


COMMANDS: dict[bytes, Command[ShardConnection]] = {
    **protocol.PROTOCOL,
    b"GET": Command(get, 2, 1, 1),
    b"MGET": Command(mget, -2, 1, -1),
    b"EXISTS": Command(exists, -2, 1, -1),
    b"STRLEN": Command(strlen, 2, 1, 1),
    b"EXPLAIN": Command(explain, 2, 1, 1),
    b"DBSIZE": Command(dbsize, 1),
    b"PING": Command(ping, -1),
    b"LEASE": Command(lease, -1),
}
