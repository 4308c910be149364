"""memcached with extstore: keys in memory, values in a file. It is asked as a shard is, over a Unix socket."""

import os
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final
from uuid import UUID

from bench.errors import BenchmarkFailed
from bench.exchanges import Exchange
from bench.peers.nginx import fill
from bench.peers.peer import program
from bench.processes import Processes
from bench.sample import Pair, Sampler

EXTSTORE: Final = "memcached extstore"
MEMCACHED: Final = "memcached"

IN_MEMORY: Final = 130
"""Bytes of each pair that stay in memory whatever its value: the header of an item, its key, where its value lies, and
what an entry of the hash table and the rounding to a size of slab add."""

FIXED: Final = 128 << 20
"""Bytes for slabs that are filled in part, and for values on their way to the file."""

FILE_SHARE: Final = 3
"""Times the dataset that the file may have: memcached leaves pages that are about to be written empty."""


def memory(sampler: Sampler) -> int:
    """Bytes that it has to have for the pairs of the dataset."""
    return FIXED + IN_MEMORY * sampler.keys


def cannot(sampler: Sampler) -> str:
    """Why it cannot hold the dataset; an empty text if it can."""
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if memory(sampler) > free:
        return f"its keys alone take {memory(sampler) >> 20:,} MiB of memory, and {free >> 20:,} MiB are free"
    return ""


def start(sampler: Sampler, processes: Processes, store: Path) -> Path:
    """Start it with its file in `store`, put all pairs into it, and return its socket. Raises BenchmarkFailed."""
    path, file = processes.folder.resolve() / "memcached.sock", store / "extstore"
    gigabytes = 1 + FILE_SHARE * sampler.bytes // (1 << 30)
    external = [
        f"ext_path={file}:{gigabytes}G",
        "ext_item_size=1",
        "ext_item_age=0",
        "ext_wbuf_size=8",
        "ext_threads=32",
    ]
    settings = ["hot_lru_pct=1", "warm_lru_pct=1", "hot_max_factor=0.01", "warm_max_factor=0.02", "slab_automove=1"]
    command = [program(MEMCACHED), "--unix-socket", str(path), "--threads", "2", "--conn-limit", "1024"]
    command += ["--user", "root"] if os.geteuid() == 0 else []
    command += ["--memory-limit", str(memory(sampler) >> 20), "--extended", ",".join([*external, *settings])]
    processes.start("memcached", *command)
    processes.wait_for_socket(path)
    fill([path], _all(sampler), sampler.keys)
    return path


def exchanges(pairs: Sequence[Pair]) -> list[Exchange]:
    return [
        Exchange(b"get %b\r\n" % key, b"VALUE %b 0 %d\r\n%b\r\nEND\r\n" % (key, len(value), value))
        for key, value in pairs
    ]


def read_from_file(path: Path) -> int:
    """How many values it has read from its file so far."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        connection.sendall(b"stats\r\nquit\r\n")
        told = b""
        while data := connection.recv(1 << 16):
            told += data
    _, found, rest = told.partition(b"STAT get_extstore ")
    if not found:
        raise BenchmarkFailed("memcached says nothing of an external store: it was built without one")
    return int(rest.split()[0])


def _all(sampler: Sampler) -> Iterator[tuple[int, bytes, bytes]]:
    for keys, values in sampler.all():
        for key, value in zip(keys, values, strict=True):
            yield 0, str(UUID(bytes=key)).encode(), value
