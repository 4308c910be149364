"""The commands of a shard: from the arguments of one request to the bytes of its reply."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, Final

from ringkv.cluster.errors import DatasetError, InvalidKey, LargeValue
from ringkv.cluster.hot import NO_EXTRA, NO_LOAD
from ringkv.cluster.lease import TOO_LARGE, Heartbeat, LeaseRequest
from ringkv.cluster.limits import LARGE_VALUE, MAX_BATCH
from ringkv.cluster.nodes import NodeTable, key_slot
from ringkv.cluster.position import are_canonical, canonical, is_canonical
from ringkv.cluster.told import is_id
from ringkv.resp import codec, config, protocol, strings
from ringkv.resp.cluster import CROSS_SLOT
from ringkv.resp.codec import parse_integer
from ringkv.resp.command import Args, Command
from ringkv.resp.pending import Pending
from ringkv.resp.requests import MAX_ARGUMENTS
from ringkv.shard import scan
from ringkv.shard.body import NotInMemory, Read
from ringkv.shard.connection import ShardConnection
from ringkv.shard.finding import Find, fitting, key_among, value_of, value_or_size
from ringkv.shard.replies import LargeReply, Wanted
from ringkv.shard.slots import cluster_
from ringkv.shard.version import Version

Reply = Callable[[Iterator[Any]], bytes | Pending]
"""From what was found of the keys, in their order, to the reply."""

TOO_MUCH: Final = codec.error(TOO_LARGE, f"the values have more than {MAX_BATCH} bytes: ask for fewer keys at once")
"""The reply to an MGET of several keys."""


def get(client: ShardConnection, args: Args) -> bytes | Pending:
    key = args[1]
    try:
        value = client.store.get(key) if is_canonical(key) else value_of(client.store, key)
    except NotInMemory as missing:
        return client.read_one(canonical(key), missing.read)
    except DatasetError:
        return _part(client, key, Wanted(client.null))
    return client.value(key, value, client.null)


def _part(client: ShardConnection, key: bytes, wanted: Wanted, version: Version | None = None) -> bytes | Pending:
    """The reply with a part of one value, which may be large. Otherwise as `_values`."""
    store = version.bounded if version else client.store
    try:
        return wanted.reply(value_of(store, key))
    except NotInMemory as missing:
        return client.read(version or client.version, [missing.read], partial(_part, client, key, wanted, version))
    except LargeValue as large:
        if client.lease:
            return client.refusal(large, key)
        return _large(client, version or client.version, key, wanted, large.size)
    except DatasetError as error:
        other = None if version else client.other_version(error, key)
        if other is not None:
            return _part(client, key, wanted, other)
        return client.refusal(error, key) if version else client.redirection(error, key)


def _large(client: ShardConnection, version: Version, key: bytes, wanted: Wanted, size: int) -> Pending:
    """The reply with what is wanted of a value of `size` bytes, once there is memory for that."""
    start, stop = wanted.span(size)
    client.worked([key], stop - start)
    return LargeReply(client, version, canonical(key), wanted, size).start()


def _values(
    client: ShardConnection, keys: list[bytes], reply: Reply, version: Version | None = None, find: Find = value_of
) -> bytes | Pending:
    """The reply made of the values of all keys, or the error of the first key that cannot be read here.

    They are read in the connection's version, unless another one is given.
    """
    store = version.bounded if version else client.store
    usual = find is value_of and are_canonical(keys)
    try:
        return reply(store.each(keys) if usual else map(partial(find, store), keys))
    except NotInMemory as first:
        # The first one too, which may have arrived in memory between the two looks: without any, nobody would answer.
        missing = (_missing(keys, partial(value_of, store)) | {first.read.block: first.read}).values()
        return client.read(version or client.version, missing, partial(_values, client, keys, reply, version, find))
    except LargeValue as large:
        if client.lease:
            return client.refusal(large, keys[0])
        if find is fitting:
            return _values(client, keys, partial(_alone, client, keys, version), version, value_or_size)
        return _values(client, keys, reply, version, fitting)
    except DatasetError as error:
        return client.refusal(error, key_among(keys)) if version else _elsewhere(client, keys, reply, find, error)


def _elsewhere(
    client: ShardConnection, keys: list[bytes], reply: Reply, find: Find, error: DatasetError
) -> bytes | Pending:
    """The reply to keys that cannot be read in the connection's version, for this reason."""
    key = key_among(keys)
    other = client.other_version(error, key)
    return client.redirection(error, key) if other is None else _values(client, keys, reply, other, find)


def _missing(keys: list[bytes], get: Callable[[bytes], object]) -> dict[int, Read]:
    """All blocks whose reads would have to wait, and these reads: then they are done side by side."""
    found = {}
    for key in keys:
        try:
            get(key)
        except NotInMemory as missing:
            found[missing.read.block] = missing.read
        except DatasetError:
            continue
    return found


def _alone(
    client: ShardConnection, keys: list[bytes], version: Version | None, values: Iterator[strings.Value | None]
) -> bytes | Pending:
    """The reply that has one value for all its keys, and that is larger than several may be together."""
    found = [(at, len(value)) for at, value in enumerate(values) if value is not None]
    if len(found) > 1:
        return TOO_MUCH
    ((at, size),) = found
    wanted = Wanted(client.null, b"*%d\r\n%b" % (len(keys), at * client.null), (len(keys) - at - 1) * client.null)
    return _large(client, version or client.version, keys[at], wanted, size)


def mget(client: ShardConnection, args: Args) -> bytes | Pending:
    if client.direct and _crosses(args):
        return CROSS_SLOT
    if len(args) == 2:
        reply = _part(client, args[1], Wanted(client.null, b"*1\r\n"))
    else:
        reply = _values(client, args[1:], lambda values: _bounded(values, client.null))
    if isinstance(reply, bytes):
        client.worked(args[1:], len(reply))
    return reply


def _crosses(args: Args) -> bool:
    """Whether the keys are of several slots, which Redis Cluster refuses even where one node has them all."""
    return len(args) > 2 and len(set(map(key_slot, args[1:]))) > 1


def _bounded(values: Iterator[bytes | None], null: bytes) -> bytes:
    """All values in one reply, or an error as soon as they have more bytes than one reply may have."""
    found = []
    room = MAX_BATCH
    for value in values:
        found.append(value)
        if value is not None:
            room -= len(value)
            if room < 0:
                return TOO_MUCH
    return codec.values(found, null)


def exists(client: ShardConnection, args: Args) -> bytes | Pending:
    if client.direct and _crosses(args):
        return CROSS_SLOT
    if client.lease is not None:
        client.state.housekeeping += 1  # routers ask it before a swap, and never for a client
    return _values(
        client,
        args[1:],
        lambda values: codec.integer(sum(value is not None for value in values)),
        find=value_or_size,
    )


def _read_one(client: ShardConnection, key: bytes, encode: Callable[[strings.Value | None], bytes]) -> bytes | Pending:
    return _values(client, [key], lambda values: encode(next(values)), find=value_or_size)


def _read_part(client: ShardConnection, key: bytes, span: strings.Span) -> bytes | Pending:
    return _part(client, key, Wanted(codec.bulk(b""), span=span))


def explain(client: ShardConnection, args: Args) -> bytes | Pending:
    """How the lookup of a key goes here, as JSON; the position is a string, since JSON's numbers end at 2^53."""
    try:
        key = canonical(args[1])
    except InvalidKey as error:
        return codec.error("ERR", str(error))
    dataset = client.store.dataset
    try:
        explanation = client.version.store.explain(key)
    except NotInMemory as missing:
        return client.read(client.version, [missing.read], partial(explain, client, args))
    about = {
        "name": client.state.name,
        "dataset": dataset.manifest.dataset_id,
        "file": str(dataset.segments[dataset.segment_of(explanation.partition)].path),
    }
    return codec.bulk(json.dumps(about | explanation._asdict() | {"position": str(explanation.position)}))


def piece(client: ShardConnection, args: Args) -> bytes | Pending:
    """`PIECE key start stop`: bytes of a value, for routers that were told its size by -LARGE."""
    try:
        start, stop = parse_integer(args[2]), parse_integer(args[3])
    except ValueError as error:
        return codec.error("ERR", str(error))
    if not (is_canonical(args[1]) and 0 <= start <= stop <= start + LARGE_VALUE):
        return codec.error("ERR", f"want PIECE <key> <start> <stop>, of at most {LARGE_VALUE} bytes")
    try:
        found = client.version.bounded.piece(args[1], start, stop)
    except NotInMemory as missing:
        return client.read(client.version, [missing.read], partial(piece, client, args))
    except DatasetError as error:
        return client.refusal(error, args[1])
    client.worked([args[1]], stop - start)
    return client.null if found is None else codec.bulk(found)


def dbsize(client: ShardConnection, _args: Args) -> bytes:
    return codec.integer(client.store.blocks.keys)


def heartbeat(client: ShardConnection, args: Args) -> bytes:
    """`HEARTBEAT [dataset]`: for routers; `dataset` is the one that they serve, if any.

    The reply is that of `ringkv.cluster.lease.Heartbeat`.
    """
    dataset = args[1].decode("ascii", "replace") if args[1:] else ""
    if len(args) > 2 or not (is_id(dataset) or args[1:] == []):
        return codec.error("ERR", "want HEARTBEAT [<dataset id>]")
    client.be_router()
    state, versions = client.state, client.state.versions
    if client.authenticated:
        versions.heard.hear(client, dataset)
    checked = versions.told.store.blocks.checked_bytes
    served = versions.held(dataset)
    load, extra = (state.heat.load(dataset), served.extra) if served else (NO_LOAD, NO_EXTRA)
    return codec.simple(Heartbeat(state.draining, checked, versions.revision, state.direct, load, extra).reply())


def lease(client: ShardConnection, args: Args) -> bytes | Pending:
    if not client.authenticated:
        return codec.error("NOAUTH", "LEASE needs AUTH first: this shard has a secret ($RINGKV_SECRET)")
    if client.lease is not None:
        return codec.error("ERR", "this connection holds a lease already: one connection, one lease")
    client.be_router()
    try:
        return client.grant(LeaseRequest.parse(args[1:]))
    except ValueError as error:
        return codec.error("ERR", str(error))


def topology(client: ShardConnection, args: Args) -> bytes:
    """`TOPOLOGY …`: the topology that a router serves now, by which direct clients are sent to owners."""
    if client.lease is None:
        return codec.error("ERR", "TOPOLOGY is for a router that holds a lease on this connection")
    try:
        table = NodeTable.parse(args[1:])
    except ValueError as error:
        return codec.error("ERR", str(error))
    cluster = client.state.cluster
    return cluster.hear(table) if cluster is not None else codec.simple(f"OK {table.epoch}")


def _unasked(command: Command[ShardConnection]) -> Command[ShardConnection]:
    """The same command, which does not count as asked by a client."""

    def handler(client: ShardConnection, args: Args) -> bytes | Pending | None:
        client.state.housekeeping += 1
        return command.handler(client, args)

    return replace(command, handler=handler)


COMMANDS: dict[bytes, Command[ShardConnection]] = {
    **protocol.PROTOCOL,
    **config.COMMANDS,
    **strings.commands(_read_one, _read_part),
    **scan.COMMANDS,
    b"GET": Command(get, 2, 1, 1),
    b"MGET": Command(mget, -2, 1, -1, most=MAX_ARGUMENTS),
    b"EXISTS": Command(exists, -2, 1, -1, most=MAX_ARGUMENTS),
    b"TOUCH": Command(exists, -2, 1, -1, most=MAX_ARGUMENTS),
    b"EXPLAIN": Command(explain, 2, 1, 1),
    b"PIECE": Command(piece, 4),
    b"DBSIZE": Command(dbsize, 1),
    **{name: _unasked(protocol.PROTOCOL[name]) for name in (b"AUTH", b"INFO")},
    b"HEARTBEAT": _unasked(Command(heartbeat, -1)),
    b"LEASE": _unasked(Command(lease, -1, queues=False, most=MAX_ARGUMENTS)),
    b"TOPOLOGY": _unasked(Command(topology, -1, queues=False, most=MAX_ARGUMENTS)),
    b"CLUSTER": Command(cluster_, -2),
}
