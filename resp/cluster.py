"""CLUSTER and what goes with it: by these a client of Redis Cluster learns who owns which slots."""

from typing import Final

from ringkv.cluster.nodes import Node, key_slot
from ringkv.cluster.position import SLOTS
from ringkv.resp import codec
from ringkv.resp.codec import parse_integer
from ringkv.resp.command import Args, Command, shown, wrong_number
from ringkv.resp.connection import Connection

DISABLED: Final = codec.error("ERR", "This instance has cluster support disabled")
"""Redis's words: by them a client of Redis Cluster knows that it talks to a server of the ordinary kind."""

CROSS_SLOT: Final = codec.error("CROSSSLOT", "Keys in request don't hash to the same slot")
"""Redis's words."""


class Elsewhere(bytes):
    """What a node says of a key that others have: MOVED, ASK or CLUSTERDOWN.

    It says so of a whole transaction: only then clients send that to another node, as inside an array an error is a
    result like any other.
    """

    __slots__ = ()


DOWN: Final = Elsewhere(
    codec.error("CLUSTERDOWN", "no router has told this shard yet, or lately, who owns which slots")
)


def _keyslot(_client: Connection, args: Args) -> bytes:
    return codec.integer(key_slot(args[2]))


def _myid(client: Connection, _args: Args) -> bytes:
    node = client.server.node
    return codec.error("ERR", "this is a router, and no node") if node is None else codec.bulk(Node(node).node_id)


def _slots(client: Connection, _args: Args) -> bytes:
    view = client.server.view
    return view.slots(resp3=client.resp3) if view else codec.array([])


def _shards(client: Connection, _args: Args) -> bytes:
    view = client.server.view
    return view.shards(resp3=client.resp3) if view else codec.array([])


def _nodes(client: Connection, _args: Args) -> bytes:
    view = client.server.view
    return view.nodes if view else codec.bulk("")


def _info(client: Connection, _args: Args) -> bytes:
    view = client.server.view
    return view.info if view else codec.bulk("cluster_enabled:1\r\ncluster_state:fail\r\n")


SUBCOMMANDS: Final = {
    b"INFO": (_info, 2),
    b"KEYSLOT": (_keyslot, 3),
    b"MYID": (_myid, 2),
    b"NODES": (_nodes, 2),
    b"SHARDS": (_shards, 2),
    b"SLOTS": (_slots, 2),
}
"""Subcommand → what answers it, and how many arguments it has, counted with CLUSTER and its own name."""


def cluster(client: Connection, args: Args) -> bytes:
    """`CLUSTER INFO | KEYSLOT | MYID | NODES | SHARDS | SLOTS`"""
    if client.server.node is None and client.server.view is None:
        return DISABLED
    what = shown(args[1])
    handler, count = SUBCOMMANDS.get(args[1].upper(), (None, 0))
    if handler is None:
        return codec.error("ERR", f"unknown subcommand '{what}' of CLUSTER: it only tells, and changes nothing")
    if len(args) != count:
        return wrong_number(f"cluster|{what}")
    return handler(client, args)


def slot_of(arg: bytes) -> int:
    """The number of a slot. Raises ValueError, in Redis's words."""
    slot = parse_integer(arg)
    if not 0 <= slot < SLOTS:
        raise ValueError("Invalid slot")
    return slot


def mode(client: Connection, _args: Args) -> bytes:
    """READONLY, READWRITE and ASKING: all owners of a slot answer reads, and no slot is on its way anywhere."""
    clustered = client.server.node is not None or client.server.view is not None
    return codec.simple("OK") if clustered else DISABLED


CLUSTER: dict[bytes, Command[Connection]] = {
    b"CLUSTER": Command(cluster, -2),
    b"READONLY": Command(mode, 1),
    b"READWRITE": Command(mode, 1),
    b"ASKING": Command(mode, 1),
}
