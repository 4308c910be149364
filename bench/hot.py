"""Hot lookups in datasets of several sizes, in one process and in turn: hits, and misses.

python -m bench.hot DATASET...      prints one JSON object: seconds a lookup of each round, by dataset
"""

import json
import random
import time
import uuid
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

import click

from bench.sample import Sampler
from ringkv.dataset.dataset import Dataset
from ringkv.shard.body import NotInMemory
from ringkv.shard.store import Store

KEYS: Final = 10_000
"""Of each kind: what is hot is a small part of any large dataset."""

ROUNDS: Final = 9
PASSES: Final = 5


@click.command()
@click.argument("datasets", nargs=-1, required=True, type=click.Path(path_type=Path))
def main(datasets: tuple[Path, ...]) -> None:
    rng = random.Random(1)  # noqa: S311 - to ask for the same keys again
    absent = [str(uuid.UUID(int=rng.getrandbits(128), version=4)).encode() for _ in range(KEYS)]
    kinds = []
    for path in datasets:
        store = leased(Dataset.open(path))
        for kind, keys in (("hits", [key for key, _ in Sampler(path).any(KEYS)]), ("misses", absent)):
            warm(store, keys)
            kinds.append((str(path), kind, store, keys))
    found: dict[str, dict[str, list[float]]] = {}
    for _ in range(ROUNDS):
        for path_text, kind, store, keys in kinds:
            found.setdefault(path_text, {}).setdefault(kind, []).append(_seconds(store, keys))
    click.echo(json.dumps(found))


def leased(dataset: Dataset) -> Store:
    """A store that answers for all partitions."""
    store = Store(dataset)
    store.blocks.lease(store.blocks.leasing(range(dataset.manifest.partitions)))
    store.blocks.fit()
    return store


def warm(store: Store, keys: Sequence[bytes]) -> None:
    """Look all up once: their blocks are checked and mapped from then on."""
    dataset, blocks = store.dataset, store.blocks
    for key in keys:
        try:
            store.get(key)
        except NotInMemory as missing:
            row = blocks.row(missing.read.block)
            segment = dataset.segments[dataset.segment_of(missing.read.block // blocks.width)]
            blocks.holding({missing.read.block: segment.read(row.offset, row.size)}, partial(store.get, key))
        store.get(key)


def _seconds(store: Store, keys: Sequence[bytes]) -> float:
    """Seconds a lookup, the loop around it included: the best of some passes, as others interrupt."""
    get = store.get
    best = float("inf")
    for _ in range(PASSES):
        start = time.perf_counter()
        for key in keys:
            get(key)
        best = min(best, time.perf_counter() - start)
    return best / len(keys)


if __name__ == "__main__":
    main()
