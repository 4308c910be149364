"""Whatever a packed dataset holds, also under right digests: refused, or read; never a crash, never a foreign byte."""

import json
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from ringkv.cluster.errors import CorruptBlock, InvalidDataset
from ringkv.dataset.dataset import Dataset
from ringkv.dataset.format import (
    BLOCK_SCHEMA,
    BLOCKS,
    MANIFEST,
    PARTITION_SCHEMA,
    PARTITIONS,
    dataset_id,
    partition_digests,
    segment_name,
)
from ringkv.dataset.verify import damages
from tests.fuzz.cases import cases, mutated
from tests.support.data import random_keys
from tests.support.handmade import alter_manifest, rows_of, write_rows, write_table
from tests.support.packed import lease, stored

COUNT = 16
"""Blocks, and partitions: as many as it takes for every kind to be there, and no more, for each case reads all."""

KEYS = random_keys(64, seed=23)
FILES = [MANIFEST, PARTITIONS, BLOCKS, segment_name(0)]
VALUES: list[Any] = [-1, 1.5, None, True, "", "x", "../x", [], {}, "\ud800", 1 << 70]
NUMBERS = [0, 1, 7, 8, 255, 256, 257, 1 << 16, (1 << 31) - 1, 1 << 31, (1 << 32) - 8, (1 << 32) - 1]


def rows_of_blocks(made: Path) -> Any:
    with Dataset.open(made) as dataset:
        return np.concatenate([dataset.blocks_of(partition) for partition in range(COUNT)])


def mutate_rows(chooser: random.Random, made: Path, rows: Any) -> None:
    """Other numbers in the rows of blocks, and every digest over them right again."""
    for _ in range(chooser.randint(1, 3)):
        name = chooser.choice([name for name in BLOCK_SCHEMA.names if name != "checksum"])
        rows[name][chooser.randrange(COUNT)] = chooser.choice([*NUMBERS, int(chooser.choice(rows[name]))])
    digests = partition_digests(rows.reshape(COUNT, 1))
    write_table(made / BLOCKS, BLOCK_SCHEMA, [np.ascontiguousarray(rows[name]) for name in BLOCK_SCHEMA.names])
    keys, sizes = (rows[name].astype(np.uint64) for name in ("keys", "bytes"))
    write_table(made / PARTITIONS, PARTITION_SCHEMA, [keys, sizes, np.array(digests, dtype=object)])
    totals = {"keys": int(keys.sum()), "bytes": int(sizes.sum())}
    alter_manifest(made, dataset_id=dataset_id(COUNT, digests), **totals)


def mutate_manifest(chooser: random.Random, made: Path) -> None:
    """Something else at some place of the manifest."""
    said = json.loads((made / MANIFEST).read_text())
    where = chooser.choice([said, said["segments"][0]])
    value = chooser.choice([*NUMBERS, *VALUES])
    where[chooser.choice([*where, "new"])] = value
    (made / MANIFEST).write_text(json.dumps(said))


def mutate_bytes(chooser: random.Random, made: Path) -> None:
    path = made / chooser.choice(FILES)
    path.write_bytes(mutated(chooser, path.read_bytes()))


def read_all(made: Path) -> tuple[int, int]:
    """How many keys had their value, and how many were refused. Raises InvalidDataset."""
    found = refused = 0
    with stored(made) as store:
        lease(store)
        for key in KEYS:
            try:
                value = store.get(key)
            except CorruptBlock:
                refused += 1
                continue
            assert value in {b"value", None}
            found += value is not None
        del store
    return found, refused


def test_a_dataset_that_was_changed_is_read_rightly_or_refused(tmp_path: Path) -> None:
    good, made = tmp_path / "good", tmp_path / "made"
    write_rows(good, rows_of(KEYS), count=COUNT)
    rows = rows_of_blocks(good)
    refusals = readings = 0
    for seed, chooser in cases(60):
        shutil.copytree(good, made)
        kind = chooser.choice(["rows", "manifest", "bytes", "bytes"])
        if kind == "rows":
            mutate_rows(chooser, made, rows.copy())
        elif kind == "manifest":
            mutate_manifest(chooser, made)
        else:
            mutate_bytes(chooser, made)
        try:
            with Dataset.open(made) as dataset:
                whole = not list(damages(dataset, lambda _done, _all: None))
            found, refused = read_all(made)
            if whole:  # what is verified is served: all of it, unless the rows say rightly that there is less
                assert not refused, (seed, kind)
                assert found == len(KEYS) or kind == "rows", (seed, kind)
            readings += 1
        except InvalidDataset:
            refusals += 1
        shutil.rmtree(made)
    assert readings
    assert refusals
