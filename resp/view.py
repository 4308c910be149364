"""The replies to CLUSTER SLOTS, NODES and SHARDS for one topology, each made once for all clients that ask.

A map of many partitions has hundreds of kilobytes, and some clients fetch it again whenever a slot has moved.

Source of the formats: https://redis.io/docs/latest/commands/cluster-slots/, …/cluster-nodes/, …/cluster-shards/
"""

from collections import defaultdict
from copy import copy
from dataclasses import replace
from functools import cached_property

from ringkv.cluster.nodes import Node, NodeTable, SlotMap
from ringkv.cluster.position import SLOTS
from ringkv.resp import codec


class ClusterView:
    """A topology as clients see it. `me` is the name of the node that tells it, "" where a router does.

    A shard is shown as the master of the slots whose first owner it is. Further owners stand in CLUSTER SLOTS alone: a
    node of Redis is either master or replica, and here each is both. Takes milliseconds to build: for a thread.
    """

    def __init__(self, table: NodeTable, me: str) -> None:
        self.table = table
        self.slot_map = SlotMap(table)
        self._me = me
        self._slots = self._encoded_slots()

    def at(self, epoch: int) -> "ClusterView":
        """The same topology, said again at another epoch: nothing of it is built again."""
        again = copy(self)
        again.table = replace(self.table, epoch=epoch)
        for told in ("info", "nodes"):
            again.__dict__.pop(told, None)
        return again

    def slots(self, *, resp3: bool) -> bytes:
        return self._slots3 if resp3 else self._slots

    @cached_property
    def info(self) -> bytes:
        owned = self._owned
        assigned = sum(last - first + 1 for runs in owned.values() for first, last in runs)
        fields = {
            "cluster_enabled": 1,
            "cluster_state": "ok" if assigned == SLOTS else "fail",
            "cluster_slots_assigned": assigned,
            "cluster_slots_ok": assigned,
            "cluster_slots_pfail": 0,
            "cluster_slots_fail": 0,
            "cluster_known_nodes": len(self._nodes),
            "cluster_size": len(owned),
            "cluster_current_epoch": self.table.epoch,
            "cluster_my_epoch": self.table.epoch,
            "cluster_stats_messages_sent": 0,
            "cluster_stats_messages_received": 0,
        }
        return codec.bulk("".join(f"{name}:{value}\r\n" for name, value in fields.items()))

    @cached_property
    def nodes(self) -> bytes:
        lines = []
        for node in self._nodes:
            flags = "myself,master" if node.name == self._me else "master"
            runs = [f"{first}-{last}" if last > first else str(first) for first, last in self._owned[node]]
            about = (node.node_id, f"{node.host}:{node.port}@0", flags, "-", 0, 0, self.table.epoch, "connected")
            lines.append(" ".join(map(str, (*about, *runs))) + "\n")
        return codec.bulk("".join(lines))

    def shards(self, *, resp3: bool) -> bytes:
        return self._shards3 if resp3 else self._shards2

    @cached_property
    def _shards2(self) -> bytes:
        return self._encoded_shards(resp3=False)

    @cached_property
    def _shards3(self) -> bytes:
        return self._encoded_shards(resp3=True)

    def _encoded_shards(self, *, resp3: bool) -> bytes:
        """An entry for each node, as the master of the slots of which it is the first owner."""
        found = []
        for node in self._nodes:
            about = [
                (codec.bulk("id"), codec.bulk(node.node_id)),
                (codec.bulk("port"), codec.integer(node.port)),
                (codec.bulk("ip"), codec.bulk(node.host)),
                (codec.bulk("endpoint"), codec.bulk(node.host)),
                (codec.bulk("role"), codec.bulk("master")),
                (codec.bulk("replication-offset"), codec.integer(0)),
                (codec.bulk("health"), codec.bulk("online")),
            ]
            bounds = [codec.integer(bound) for run in self._owned[node] for bound in run]
            shard = [
                (codec.bulk("slots"), codec.array(bounds)),
                (codec.bulk("nodes"), codec.array([codec.map_(about, resp3=resp3)])),
            ]
            found.append(codec.map_(shard, resp3=resp3))
        return codec.array(found)

    @property
    def _nodes(self) -> list[Node]:
        return [node for node in self.table.nodes if node.host]

    @cached_property
    def _owned(self) -> dict[Node, list[tuple[int, int]]]:
        """The runs of slots of each node, as first and last."""
        found: dict[Node, list[tuple[int, int]]] = defaultdict(list)
        for first, last, owners in self.slot_map.runs:
            runs = found[owners[0]]
            if runs and runs[-1][1] == first - 1:
                runs[-1] = (runs[-1][0], last)
            else:
                runs.append((first, last))
        return found

    def _encoded_slots(self) -> bytes:
        encoded = {
            node: codec.array(
                [codec.bulk(node.host), codec.integer(node.port), codec.bulk(node.node_id), codec.array([])]
            )
            for node in self._nodes
        }
        return codec.array(
            [
                codec.array([codec.integer(first), codec.integer(last), *(encoded[node] for node in owners)])
                for first, last, owners in self.slot_map.runs
            ]
        )

    @cached_property
    def _slots3(self) -> bytes:
        # What a node has besides its address is a map, and empty; nothing else in this reply looks like it.
        return self._slots.replace(b"*0\r\n", b"%0\r\n")
