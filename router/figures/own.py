"""The figures of this router process, read from its lookups and its controller when somebody asks."""

from collections.abc import Iterator

from ringkv import __version__
from ringkv.cluster.lease import Leased
from ringkv.process.address import Address
from ringkv.process.connections import ConnectionGuard
from ringkv.router.figures.values import Figures, ShardFigures, State
from ringkv.router.lookup.durations import Durations, total
from ringkv.router.lookup.lookup import Lookups
from ringkv.router.lookup.topology import Topology
from ringkv.router.members.controller import Controller
from ringkv.router.members.member import Member


def own_figures(
    lookups: Lookups, controller: Controller, guard: ConnectionGuard, uptime: float, loop_lag: float
) -> Figures:
    """The figures of this process alone; `uptime` and `loop_lag` are in seconds."""
    topology = lookups.topology
    dataset = topology.dataset if topology else Leased(0, 0)
    durations = lookups.durations()
    shards = _shards(lookups, controller)
    known = {shard.name for shard in shards}
    return Figures(
        version=__version__,
        workers=1,
        uptime=uptime,
        epoch=topology.epoch if topology else 0,
        serial=controller.versions.version.serial if controller.versions.version else 0,
        dataset=topology.dataset_id if topology else None,
        ring=topology.ring.ring_id if topology else None,
        replicas=topology.ring.replicas if topology else None,
        partitions=topology.ring.partitions if topology else None,
        keys=dataset.keys,
        bytes=dataset.bytes,
        in_flight=lookups.in_flight,
        waiting=lookups.waiting,
        hot_keys=len(lookups.hot),
        hot_bytes=lookups.hot.bytes,
        loop_lag=loop_lag,
        connections=len(guard),
        closed=dict(guard.closed),
        counters=_counters(lookups, durations),
        durations=durations,
        shards=shards,
        kept_out={str(address): reason for address, reason in controller.kept_out.items()},
        zone=controller.cluster.zone,
        extra_owners={str(p): list(names) for p, names in topology.ring.extra_owners.items()} if topology else {},
        gone={name: total([replies]) for name, replies in lookups.shard_durations.items() if name not in known},
    )


def _counters(lookups: Lookups, durations: Durations) -> dict[str, int]:
    counters = lookups.counters
    found = counters.told(lookups.shard_durations, lookups.near)
    # Values found are derived: timed answers less missing less unavailable.
    return {**found, "found": durations.count - counters.missing - counters.unavailable}


def _shards(lookups: Lookups, controller: Controller) -> tuple[ShardFigures, ...]:
    topology = lookups.topology
    members = list(_each_once(controller))
    answering = {member.name for member in members if member.identity}
    found = []
    for member in members:
        name = member.name
        # What a shard holds that came back at another address is told of it there alone.
        holds = member.identity is not None or name not in answering
        leased = topology.leased.get(name) if topology and holds else None
        link = topology.links.get(name) if topology else None
        found.append(
            ShardFigures(
                name=name,
                address=str(member.address),
                state=_state(member, topology),
                serial=member.identity.versions[0].serial if member.identity and member.identity.versions else 0,
                partitions=topology.owned.get(name, 0) if topology and holds else 0,
                keys=leased.keys if leased else 0,
                bytes=leased.bytes if leased else 0,
                # The shard counts all that it has checked, also for leases of other routers.
                checked=min(member.checked, leased.bytes) if leased else 0,
                in_flight=link.in_flight if link else 0,
                durations=total([lookups.shard_durations[name]]) if name in lookups.shard_durations else Durations(),
                announced=_announced(member),
                direct=member.direct,
                zone=member.identity.place.zone if member.identity else "",
                weight=member.identity.place.weight if member.identity else 1.0,
            )
        )
    return tuple(sorted(found, key=lambda shard: (shard.name, shard.address)))


def _announced(member: Member) -> str:
    host, port = member.identity.announced if member.identity else ("", 0)
    return str(Address(host, port)) if host else ""


def _each_once(controller: Controller) -> Iterator[Member]:
    """The members that are not kept out; a shard that answers at several addresses once, at the first of them."""
    seen = set()
    for address, member in sorted(controller.members.items()):
        if address in controller.kept_out:
            continue
        if member.identity is not None:
            if member.identity.run_id in seen:
                continue
            seen.add(member.identity.run_id)
        yield member


def _state(member: Member, topology: Topology | None) -> State:
    if member.identity is None:
        return "lost"
    if member.draining:
        return "draining"
    link = topology.links.get(member.name) if topology else None
    return "serving" if link is not None and link.open else "joining"
