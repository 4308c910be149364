"""What the router tells of its cluster: plain values, made from the controller and the topology."""

from collections import Counter
from typing import Any

from router.controller import Controller
from router.member import Member
from router.topology import Topology


def ring_view(controller: Controller, topology: Topology | None) -> dict[str, Any]:
    """The body of `GET /ring`."""
    owned = Counter(name for owners in topology.ring.owners for name in owners) if topology else Counter[str]()
    return {
        "epoch": topology.epoch if topology else 0,
        "dataset": topology.dataset_id if topology else None,
        "ring": topology.ring.ring_id if topology else None,
        "replicas": topology.ring.replicas if topology else None,
        "partitions": topology.ring.partitions if topology else None,
        "shards": sorted(
            (
                {
                    "name": member.name,
                    "address": str(member.address),
                    "state": _state(member, topology),
                    "partitions": owned[member.name],
                    "keys": topology.keys.get(member.name, 0) if topology else 0,
                }
                for member in controller.members.values()
                if member.address not in controller.kept_out
            ),
            key=lambda shard: (shard["name"], shard["address"]),
        ),
        "kept_out": {str(address): reason for address, reason in controller.kept_out.items()},
    }


def _state(member: Member, topology: Topology | None) -> str:
    if member.identity is None:
        return "lost"
    if member.draining:
        return "draining"
    link = topology.links.get(member.name) if topology else None
    return "serving" if link is not None and link.open else "joining"
