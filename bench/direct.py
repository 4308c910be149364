"""Shards asked directly, beside a Redis Cluster with the same pairs, and beside the same shards behind their router."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import click
from redis import Redis

from bench.client import COMPILER, compiled
from bench.data import Data
from bench.errors import BenchmarkFailed
from bench.figures import Figures
from bench.load import KEPT, Measured, measure, measure_with
from bench.peers.cluster import RedisCluster
from bench.peers.peer import program_path
from bench.peers.ringkv import Ringkv
from bench.processes import Processes
from bench.quiet import Quiet
from bench.redis import CONNECTIONS, DEPTH, HTTP
from bench.serving import CHECKED, Scale
from ringkv.cluster.nodes import key_slot

SHARDS: Final = "GET from 3 shards"
REDIS_CLUSTER: Final = "GET from a Redis Cluster of 3 masters"

NEEDS: Final = {**COMPILER, "redis-server": "redis-server", "redis-cli": "redis-tools"}
"""Programs, each with the Debian package that brings it."""

QUANTITIES: Final = {1: "direct", DEPTH: f"direct in pipelines of {DEPTH},"}
"""How the names of figures begin, by the depth of the pipelines."""


@dataclass(frozen=True, slots=True)
class _Cluster:
    """Its processes, the program that loads it, and of each node its port and the file of the keys that it owns."""

    name: str
    processes: Processes
    program: Path
    nodes: tuple[tuple[int, Path], ...]

    def load(self, connections: int, depth: int, seconds: float, seed: int) -> Measured:
        nodes = [str(part) for node in self.nodes for part in node]
        command = [str(self.program), *map(str, (connections, depth, seconds, seed)), *nodes]
        return measure_with(command, connections=connections, seconds=seconds, pids=self.processes.pids)


def direct(data: Data, scale: Scale, folder: Path, quiet: Quiet, figures: Figures) -> None:
    """Measure all three in turn. Raises BenchmarkFailed."""
    program = compiled("direct", folder)
    for number in range(1, scale.rounds + 1):
        with Processes(folder / f"ringkv-{number}") as ours, Processes(folder / f"redis-{number}") as theirs:
            endpoint, port = Ringkv().start_with_nodes(data, ours)
            shards = _Cluster(SHARDS, ours, program, _nodes(port, data, folder / "shards"))
            masters = _Cluster(
                REDIS_CLUSTER, theirs, program, _nodes(RedisCluster().start(data, theirs), data, folder / "masters")
            )
            # Each round begins with another one, so that none is always behind the same one.
            clusters = (shards, masters) if number % 2 else (masters, shards)
            for connections, depth in ((1, 1), (CONNECTIONS, 1), (CONNECTIONS, DEPTH)):
                for cluster in clusters:
                    once = partial(cluster.load, connections, depth, scale.seconds, number)
                    _keep(number, cluster.name, depth, quiet.measured(once), figures)
                if depth == 1:
                    http = partial(
                        measure,
                        endpoint,
                        data.keys,
                        connections=connections,
                        seconds=scale.seconds,
                        pids=ours.pids,
                        seed=number,
                    )
                    _keep(number, HTTP, depth, quiet.measured(http), figures)


def missing() -> list[str]:
    """The Debian packages without which this cannot be measured, beside wrk's."""
    return sorted(package for program, package in NEEDS.items() if program_path(program) is None)


def _nodes(port: int, data: Data, folder: Path) -> tuple[tuple[int, Path], ...]:
    """The nodes' ports, and a file of the keys of each, by what one of them tells. Raises BenchmarkFailed."""
    owners: dict[int, int] = {}
    seed: Any = Redis(port=port)
    with seed:
        for first, last, (_, owner, *_), *_ in seed.execute_command("CLUSTER SLOTS"):
            owners |= dict.fromkeys(range(first, last + 1), owner)
    for key, value in data.first(CHECKED):
        with Redis(port=owners[key_slot(key)]) as client:
            if (found := client.get(key)) != value:
                raise BenchmarkFailed(f"port {port} answers {found!r} for {key!r} instead of {value!r}")
    keys: dict[int, list[bytes]] = {}
    for key in data.keys.read_bytes().split():
        keys.setdefault(owners[key_slot(key)], []).append(key)
    nodes = []
    folder.mkdir(exist_ok=True)
    for number, owner in enumerate(sorted(keys)):
        path = folder / f"{number}.keys"
        path.write_bytes(b"\n".join([*keys[owner], b""]))
        nodes.append((owner, path))
    return tuple(nodes)


def _keep(number: int, subject: str, depth: int, found: Measured, figures: Figures) -> None:
    for quantity in KEPT:
        figures.add(subject, f"{QUANTITIES[depth]} {quantity}", getattr(found, quantity), found.connections)
    click.echo(f"round {number}, {found.connections:3} connections, pipelines of {depth:2}: {subject:38} {found}")
