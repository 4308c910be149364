"""What a lookup and a load cost when the packed file is not in memory: `python -m bench.disk PACKED`.

The pages are given back before each part, to the page cache and by it to the disk. A hypervisor's cache below it
stays, so that a bare disk may be slower.
"""

import mmap
import os
import resource
import time
from pathlib import Path
from typing import Final

import click

from bench.data import sample_keys
from bench.figures import RINGKV, Figures
from dataset.packed import PackedFile
from shard.store import Store

LOOKUPS: Final = 2000
"""Few of the pages of a large file, so that nearly every one of them finds its pages on the disk."""


@click.command()
@click.argument("packed", type=click.Path(path_type=Path, exists=True))
@click.option("--work", type=click.Path(path_type=Path), default=Path("build/bench"), show_default=True)
def main(packed: Path, work: Path) -> None:
    """Measure PACKED, and keep what was found in WORK/results/disk.json, for `python -m bench.questions`."""
    figures, keys = Figures(), sample_keys(packed, LOOKUPS)
    with PackedFile.open(packed) as opened:
        store = Store(opened)
        evict(opened)
        start = time.perf_counter()
        store.load(range(opened.header.partitions))
        figures.add(RINGKV, "load rate", store.bytes / (time.perf_counter() - start), opened.header.keys)
        _look_up(store, keys, figures, "memory")
        evict(opened)
        _look_up(store, keys, figures, "disk, read ahead")
        opened.map.madvise(mmap.MADV_RANDOM)
        evict(opened)
        _look_up(store, keys, figures, "disk, single pages")
    figures.write(work / "results" / "disk.json")


def evict(packed: PackedFile) -> None:
    """Give the file's pages back."""
    packed.map.madvise(mmap.MADV_DONTNEED)
    descriptor = os.open(packed.path, os.O_RDONLY)
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def _look_up(store: Store, keys: list[bytes], figures: Figures, way: str) -> None:
    """Look each key up once: the mean seconds of one, and how many pages each waited for."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_majflt
    start = time.perf_counter()
    for key in keys:
        store.get(key)
    seconds = (time.perf_counter() - start) / len(keys)
    faults = (resource.getrusage(resource.RUSAGE_SELF).ru_majflt - before) / len(keys)
    figures.add(way, "from disk", seconds)
    figures.add(way, "faults", faults)
    click.echo(f"{way}: {1e6 * seconds:.1f} µs a lookup, {faults:.2f} page faults that wait for the disk")


if __name__ == "__main__":
    main()
