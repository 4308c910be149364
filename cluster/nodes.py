"""The shards as nodes of a Redis Cluster: what routers tell them of one another, and who owns which slots by that.

    TOPOLOGY <epoch> <dataset id> <partitions> <replicas> {<shard> <host> <port>}… [+<hot>]  → +OK <epoch>

A router says so to all shards of a topology, and to those that it no longer asks, once requests go by it. The address
is the one that clients should use; a shard that announces none has `-` and 0. As with LEASE a shard
is its name, zone and weight, and there is no list of slots on the wire: each shard places them by itself. Hot are the
partitions that have extra owners, each with the number of these (cluster/hot.py).

Of several routers each has a topology of its own, and they do not know each other. So epochs are a Lamport clock: a
shard takes what has a higher epoch than what it has, and refuses the rest with STALE and its own epoch, above which
the router says it again. Where two have chosen the same number and say different things, the digests decide, alike on
every shard: one of the two is refused, and comes back above. So the shards agree after each change, on what was said
last. A router whose topology was replaced later does not repeat it: else two routers that see different shards would
take turns for ever.

Source of the clock: Lamport, "Time, Clocks, and the Ordering of Events in a Distributed System", 1978.
"""

import hashlib
import re
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

from ringkv.cluster import told
from ringkv.cluster.hot import Counts, counts_of, counts_word
from ringkv.cluster.limits import MAX_REPLICAS, MAX_SHARDS
from ringkv.cluster.place import ANYWHERE, Place, Places, placed
from ringkv.cluster.position import SLOTS, slot, slot_shift
from ringkv.cluster.ring import build_ring

STALE: Final = "STALEEPOCH"
"""The shard has been told a newer topology, whose epoch stands behind this word."""

MAX_EPOCH: Final = (1 << 53) - 1
"""Clients show epochs, and JavaScript's numbers end here."""

_NOWHERE: Final = "-"

_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,15}")

_TAG: Final = re.compile(rb"\{([^}]+)\}")


def key_slot(text: bytes) -> int:
    """The slot of a key as a client sends it: what stands between the first braces, if anything, else all of it."""
    brace = text.find(b"{")
    tag = _TAG.match(text, brace) if brace >= 0 else None
    return slot(tag[1] if tag else text)


@dataclass(frozen=True, slots=True, order=True)
class Node:
    """A shard, and where clients reach it: `host` is "" and the port 0 where it announces no address."""

    name: str
    host: str = ""
    port: int = 0
    place: Place = ANYWHERE

    @property
    def node_id(self) -> str:
        """40 hex digits: made from the name, so that a shard that comes back elsewhere is the same node."""
        return hashlib.sha1(self.name.encode(), usedforsecurity=False).hexdigest()


@dataclass(frozen=True, slots=True)
class NodeTable:
    """What TOPOLOGY says: the topology that a router has gone over to. `nodes` are sorted, and not empty."""

    epoch: int
    dataset_id: str
    partitions: int
    replicas: int
    nodes: tuple[Node, ...]
    extra: Counts = ()

    def command(self) -> tuple[str | int, ...]:
        told_of = [part for node in self.nodes for part in (node.place.of(node.name), node.host or _NOWHERE, node.port)]
        hot = [f"+{counts_word(self.extra)}"] if self.extra else []
        return "TOPOLOGY", self.epoch, self.dataset_id, self.partitions, self.replicas, *told_of, *hot

    @classmethod
    def parse(cls, args: list[bytes]) -> "NodeTable":
        """Read the arguments of TOPOLOGY. Raises ValueError with the reason."""
        hot, args = (args[-1], args[:-1]) if args[-1:] and args[-1].startswith(b"+") else (b"+", args)
        if len(args) < 7 or len(args) % 3 != 1:
            raise ValueError("want TOPOLOGY <epoch> <dataset id> <partitions> <replicas> {<shard> <host> <port>} …")
        epoch, dataset_id, partitions, replicas, *rest = (arg.decode("ascii", "replace") for arg in args)
        nodes = tuple(sorted(_node(*rest[at : at + 3]) for at in range(0, len(rest), 3)))
        if len({node.name for node in nodes}) != len(nodes):
            raise ValueError("a name stands twice in the topology")
        if len(nodes) > MAX_SHARDS:
            raise ValueError(f"a ring of {len(nodes)} shards: at most {MAX_SHARDS} can share a dataset")
        if not told.is_id(dataset_id):
            raise ValueError(f"not a dataset's id: {dataset_id[:60]!a}")
        count = _number("partitions", partitions, 1, SLOTS)
        if count & (count - 1):
            raise ValueError(f"partitions are a power of two, not {count}")
        copies = _number("replicas", replicas, 1, MAX_REPLICAS)
        extra = counts_of(hot[1:].decode("ascii", "replace"), MAX_SHARDS)
        if extra and extra[-1][0] >= count:
            raise ValueError(f"partition {extra[-1][0]} is none of {count}")
        return cls(_number("an epoch", epoch, 1, MAX_EPOCH), dataset_id, count, copies, nodes, extra)

    @property
    def names(self) -> frozenset[str]:
        return frozenset(node.name for node in self.nodes)

    @property
    def places(self) -> Places:
        return {node.name: node.place for node in self.nodes}

    def says_as(self, other: "NodeTable") -> bool:
        """Whether both tell the same topology, whatever their epochs."""
        return replace(self, epoch=other.epoch) == other


def hear(before: NodeTable | None, table: NodeTable) -> NodeTable | None:
    """The table that counts for a shard which is told `table` and has gone by `before`; None if it refuses `table`.

    It is the one with the higher epoch or, if the epochs are equal, the higher digest: so shards that are told the same
    tables in different orders end with the same one.
    """
    if before is None:
        return table
    if table.says_as(before):
        return max(before, table, key=lambda each: each.epoch)
    return table if (table.epoch, _digest(table)) > (before.epoch, _digest(before)) else None


class SlotMap:
    """The owners of all slots; `owned_by` gives the partitions of a name. Takes as long as the ring: for a thread."""

    def __init__(self, table: NodeTable) -> None:
        ring = build_ring(table.names, table.replicas, table.partitions, table.places, table.extra)
        self.owned_by = ring.owned_by
        known = {node.name: node for node in table.nodes if node.host}
        # A client cannot reach shards that announce no address: the next owners in the preference order stand in.
        combinations = {owners: tuple(known[name] for name in owners if name in known) for owners in set(ring.owners)}
        self._owners = [combinations[owners] for owners in ring.owners]
        self._shift = slot_shift(table.partitions)

    def owners(self, slot: int) -> tuple[Node, ...]:
        """The owners of a slot in preference order, of whom clients ask the first; empty where none has an address."""
        return self._owners[slot >> self._shift]

    @cached_property
    def runs(self) -> list[tuple[int, int, tuple[Node, ...]]]:
        """Runs of slots with the same owners, as first slot, last slot, owners; slots without an owner are in none."""
        found: list[tuple[int, int, tuple[Node, ...]]] = []
        width = 1 << self._shift
        for partition, owners in enumerate(self._owners):
            first = partition * width
            if found and found[-1][2] == owners:
                found[-1] = (found[-1][0], first + width - 1, owners)
            else:
                found.append((first, first + width - 1, owners))
        return [run for run in found if run[2]]


def _digest(table: NodeTable) -> bytes:
    """A digest of all that a table says but its epoch."""
    said = "\n".join(map(str, replace(table, epoch=0).command()))
    return hashlib.sha256(said.encode()).digest()


def _node(shard: str, host: str, port: str) -> Node:
    """Raises ValueError."""
    name, place = placed(shard)
    if host == _NOWHERE:
        return Node(name, place=place)
    if not told.is_host(host):
        raise ValueError(f"not a host: {host[:60]!a}")
    return Node(name, host, _number("a port", port, 1, 65535), place)


def _number(what: str, text: str, least: int, most: int) -> int:
    """Raises ValueError."""
    if not (_NUMBER.fullmatch(text) and least <= int(text) <= most):
        raise ValueError(f"{what} must be a number from {least} to {most}, not {text[:20]!a}")
    return int(text)
