"""Memory for the same pairs: the packed dataset and what the shards hold beside it, against Redis and memcached."""

from pathlib import Path
from typing import Final

import click

from bench import load
from bench.data import Data
from bench.figures import RINGKV, Figures
from bench.peers import nginx, redis
from bench.peers.peer import program_path
from bench.peers.ringkv import Ringkv
from bench.processes import Processes
from bench.usage import maps_file, memory

REDIS: Final = "Redis"
MEMCACHED: Final = "memcached"


def hold(data: Data, folder: Path, figures: Figures) -> None:
    packed, segments = data.packed_bytes(), sorted(data.packed.glob("segment-*"))
    figures.add(RINGKV, "packed file", packed)
    figures.add(RINGKV, "packed beyond values", (packed - data.value_bytes()) / data.pairs)
    figures.add(RINGKV, "values", data.value_bytes())
    with Processes(folder / "memory-ringkv") as processes:
        endpoint = Ringkv().start(data, processes)
        if load.installed():
            load.measure(endpoint, data.keys, connections=64, seconds=2, pids=processes.pids)
        everything = processes.pids()
        # The supervisor looks into the dataset too, before it starts them.
        others = set(everything).difference(processes.roots())
        holders = [pid for pid in others if any(maps_file(pid, segment) for segment in segments)]
        shards, whole = memory(holders), memory(everything)
        figures.add(RINGKV, "shards", len(holders))
        figures.add(RINGKV, "shards anonymous", shards.anonymous_share)
        figures.add(RINGKV, "shards anonymous, each", shards.anonymous)
        figures.add(RINGKV, "held", packed + shards.anonymous_share)
        figures.add(RINGKV, "held, each", packed + shards.anonymous)
        figures.add(RINGKV, "cluster anonymous", whole.anonymous_share)
        figures.add(RINGKV, "held by the whole cluster", packed + whole.anonymous_share)
    _redis(data, folder, figures)
    _memcached(data, folder, figures)
    for subject in figures.subjects("held"):
        click.echo(f"{subject}: {(figures.median(subject, 'held') or 0) / 1e6:,.1f} MB for {data.pairs:,} pairs")


def _redis(data: Data, folder: Path, figures: Figures) -> None:
    if not (program_path("redis-server") and program_path("redis-cli")):
        figures.missing[REDIS] = ["redis-server", "redis-tools"]
        return
    with Processes(folder / "memory-redis") as processes:
        path = redis.start_redis(processes)
        redis.fill(path, redis.as_resp(data), data.pairs)
        told = redis.info(path, "memory")
        figures.add(REDIS, "used", float(told["used_memory"]))
        figures.add(REDIS, "held", float(told["used_memory_rss"]))


def _memcached(data: Data, folder: Path, figures: Figures) -> None:
    if not program_path("memcached"):
        figures.missing[MEMCACHED] = ["memcached"]
        return
    with Processes(folder / "memory-memcached") as processes:
        sockets = nginx.start_memcached(processes, 1)
        nginx.fill(sockets, ((0, key, value) for key, value in data.lines()), data.pairs)
        figures.add(MEMCACHED, "held", memory(processes.pids()).anonymous)
