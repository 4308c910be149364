"""RocksDB with the pairs of a dataset: filled by Python's binding, asked in the same process, without any server."""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import numpy as np

from bench.cold import drop, files
from bench.errors import BenchmarkFailed
from bench.sample import Pair, Sampler

ROCKSDB: Final = "RocksDB"
PACKAGE: Final = "rocksdict"

BLOOM_BITS: Final = 10
CACHE: Final = 8 << 20
"""Bytes of RocksDB's own cache, small: what memory there is goes to the page cache, as with ringkv."""


def installed() -> bool:
    return importlib.util.find_spec(PACKAGE) is not None


def fill(sampler: Sampler, database: Path) -> None:
    """Store all pairs, the keys as the 16 bytes that they are, and compact what came of it."""
    from rocksdict import DBCompressionType, Options, Rdict, WriteBatch, WriteOptions  # noqa: PLC0415 - may be missing

    options = Options(raw_mode=True)
    options.set_compression_type(DBCompressionType.none())  # ringkv has none either, and most values do not shrink
    options.set_block_based_table_factory(table_options())
    options.set_max_background_jobs(2)
    options.set_write_buffer_size(64 << 20)
    unlogged = WriteOptions()
    unlogged.disable_wal = True
    with Rdict(str(database), options) as store:
        for keys, values in sampler.all():
            batch = WriteBatch(raw_mode=True)
            for key, value in zip(keys, values, strict=True):
                batch.put(key, value)
            store.write(batch, unlogged)
        store.flush()
        store.compact_range(None, None)


def table_options() -> Any:
    """Blocks of 4 KiB with a Bloom filter, as it is set up for point lookups."""
    from rocksdict import BlockBasedOptions, Cache  # noqa: PLC0415 - may be missing

    table = BlockBasedOptions()
    table.set_bloom_filter(BLOOM_BITS, False)
    table.set_block_cache(Cache(CACHE))
    return table


def look_up(database: Path, pairs: Sequence[Pair], prefix: Sequence[str], *, threads: int, seconds: float) -> float:
    """Lookups a second in a process of its own, started behind `prefix`; the first half of the pairs warms it.

    Raises BenchmarkFailed, also at a wrong value.
    """
    asked = database.with_suffix(".npz")
    keys = np.frombuffer(b"".join(UUID(key.decode()).bytes for key, _ in pairs), np.uint8)
    ends = np.cumsum([0, *(len(value) for _, value in pairs)], dtype=np.int64)
    np.savez(asked, keys=keys, ends=ends, values=np.frombuffer(b"".join(value for _, value in pairs), np.uint8))
    drop(files(database))
    command = [*prefix, sys.executable, "-m", "bench.rocks_reader", database, asked, str(threads), str(seconds)]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, timeout=600)
    if done.returncode:
        raise BenchmarkFailed(f"RocksDB: exit code {done.returncode}: {done.stderr[-1000:]}")
    return float(json.loads(done.stdout)["rate"])
