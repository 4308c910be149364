"""Datasets that somebody made on purpose, with right digests: refused in one line, and no foreign byte handed out."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ringkv.cluster.errors import CorruptBlock, InvalidDataset
from ringkv.dataset.dataset import Dataset
from ringkv.dataset.format import (
    BLOCK_SCHEMA,
    BLOCKS,
    MANIFEST,
    PARTITION_SCHEMA,
    PARTITIONS,
    segment_name,
)
from tests.support.data import random_keys
from tests.support.handmade import COUNT, Bend, alter_manifest, rows_of, write_rows, write_table
from tests.support.packed import lease, stored
from tests.support.processes import Spawner, one_line

TABLES = {PARTITIONS: PARTITION_SCHEMA, BLOCKS: BLOCK_SCHEMA}
NO_NUMBERS: tuple[Any, ...] = ("abc", "", "256", -1, 1.5, True, [], 1 << 63, None)
NO_ENTRIES: tuple[Any, ...] = (7, "x", [7], [{}], [{"name": "x"}], None)
DAMAGED: list[tuple[str, Any]] = [
    *((name, value) for name in ("keys", "bytes", "partitions", "blocks") for value in NO_NUMBERS),
    *((name, value) for name in ("segments", "sources") for value in NO_ENTRIES),
    ("hashes", "md5"),
    ("hashes", None),
    ("dataset_id", None),
    ("packed", None),
    ("more", 1),
    *(("dataset_id", text) for text in (5, "", "x" * 32, "D" * 32, "../" * 8, "d" * 33)),
    ("packed", 5),
    ("sources", [{"name": 5, "size": 1, "digest": "d"}]),
    ("sources", [{"name": "x", "size": "1", "digest": "d"}]),
    ("sources", [{"name": "x", "size": 1, "digest": 5}]),
]


def segment(first: int, last: int, name: str = segment_name(0), size: int = 100) -> dict[str, Any]:
    return {"name": name, "size": size, "first": first, "last": last}


def test_a_dataset_that_is_right_is_read(tmp_path: Path) -> None:
    keys = random_keys(2_000, seed=1)
    write_rows(tmp_path / "made", rows_of(keys))
    with stored(tmp_path / "made") as store:
        lease(store)
        assert {store.get(key) for key in keys} == {b"value"}


@pytest.mark.parametrize(("field", "value"), DAMAGED)
def test_a_manifest_that_says_nonsense_is_refused(tmp_path: Path, field: str, value: Any) -> None:
    write_rows(tmp_path / "made", [])
    alter_manifest(tmp_path / "made", **{field: value})
    with pytest.raises(InvalidDataset, match=f"^{tmp_path}/made/manifest.json: is damaged; pack its source again$"):
        Dataset.open(tmp_path / "made")


@pytest.mark.parametrize(
    "fields",
    [
        {"partitions": 0},
        {"partitions": 3},
        {"partitions": 255},
        {"partitions": 1 << 15, "blocks": 1 << 15},
        {"partitions": 512},
        {"blocks": 0},
        {"blocks": 300},
        {"blocks": 1 << 27},
        {"segments": []},
        {"segments": [segment(0, 255)]},
        {"segments": [segment(1, 256)]},
        {"segments": [segment(0, 300)]},
        {"segments": [segment(0, 100), segment(101, 256)]},
        {"segments": [segment(0, 200), segment(100, 256)]},
        {"segments": [segment(0, 256, "../segment-00000.arrow")]},
        {"segments": [segment(0, 256, "/etc/passwd")]},
        {"segments": [segment(0, 256, ".")]},
        {"segments": [segment(0, 256, "")]},
        {"segments": [segment(0, 256, "\ud800")]},
        {"segments": [segment(0, 256, "a\0")]},
        {"segments": [segment(0, 256, "a" * 252)]},
    ],
)
def test_partitions_that_no_position_maps_to_and_segments_elsewhere_are_refused(
    tmp_path: Path, fields: dict[str, Any]
) -> None:
    write_rows(tmp_path / "made", [])
    alter_manifest(tmp_path / "made", **fields)
    with pytest.raises(InvalidDataset, match=f"^{tmp_path}/made/manifest.json: is damaged; pack its source again$"):
        Dataset.open(tmp_path / "made")


@pytest.mark.parametrize("text", ["", "{", "[]", "7", "null", '"ringkv"', "[" * 100_000, "\0", '{"ringkv": 2}'])
def test_a_manifest_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    write_rows(tmp_path / "made", [])
    (tmp_path / "made" / MANIFEST).write_text(text)
    with pytest.raises(InvalidDataset, match=r"manifest\.json: is damaged; pack its source again"):
        Dataset.open(tmp_path / "made")


@pytest.mark.parametrize("command", [("verify",), ("shard", "--listen", "127.0.0.1:0"), ("up", "--port", "0")])
def test_every_command_says_so_in_one_line(spawn: Spawner, tmp_path: Path, command: tuple[str, ...]) -> None:
    write_rows(tmp_path / "made", [])
    alter_manifest(tmp_path / "made", keys="abc")
    line = one_line(spawn(command[0], tmp_path / "made", *command[1:]))
    assert line == f"Error: {tmp_path}/made/manifest.json: is damaged; pack its source again"


BENT: dict[str, Bend] = {
    "behind the block": lambda ends: [*ends[:-1], ends[-1] + 18_000],
    "before the block": lambda ends: [-18_000, *ends[1:]],
    "into the keys": lambda ends: [-16, *ends[1:]],
    "behind the last value": lambda ends: [*ends[:-1], ends[-1] + 8],
    "a negative end": lambda ends: [*ends[:-1], -1],
}


@pytest.mark.parametrize("way", BENT)
def test_offsets_that_lead_out_of_their_block_hand_out_nothing(tmp_path: Path, way: str) -> None:
    keys = random_keys(4_000, seed=1)
    write_rows(tmp_path / "made", rows_of(keys), bend=BENT[way])
    with stored(tmp_path / "made") as store:
        lease(store)
        for key in keys:
            with pytest.raises(CorruptBlock, match="its offsets do not fit its values"):
                store.get(key)
        assert store.blocks.checked_bytes == 0


@pytest.mark.parametrize(
    ("table", "schema", "column"),
    [(name, schema, column) for name, schema in TABLES.items() for column in schema.names],
)
def test_a_table_that_says_that_values_are_missing_is_refused(
    tmp_path: Path, table: str, schema: pa.Schema, column: str
) -> None:
    write_rows(tmp_path / "made", rows_of(random_keys(4_000, seed=1)))
    path = tmp_path / "made" / table
    with pa.ipc.open_file(str(path)) as reader:
        columns = {name: reader.get_batch(0).column(name).to_pylist() for name in schema.names}
    columns[column][7] = None
    write_table(path, schema, [pa.array(columns[name], schema.field(name).type) for name in schema.names])
    with pytest.raises(InvalidDataset, match=f"^{path}: says that values are missing; pack the source of the dataset"):
        Dataset.open(tmp_path / "made")


@pytest.mark.parametrize("offset", [(1 << 32) - 8, 1 << 31, 4])
def test_a_row_that_leads_out_of_its_segment_is_refused_alone(tmp_path: Path, offset: int) -> None:
    """The digest of a partition is of what its blocks hold, not of where they lie."""
    keys = random_keys(4_000, seed=1)
    write_rows(tmp_path / "made", rows_of(keys))
    with Dataset.open(tmp_path / "made") as dataset:
        rows = np.concatenate([dataset.blocks_of(partition) for partition in range(COUNT)])
    rows["offset"][7] = offset
    columns = [np.ascontiguousarray(rows[name]) for name in BLOCK_SCHEMA.names]
    write_table(tmp_path / "made" / BLOCKS, BLOCK_SCHEMA, columns)
    with stored(tmp_path / "made") as store:
        lease(store)
        for key in keys:
            if store.block_of(key) == 7:
                with pytest.raises(
                    CorruptBlock, match=r"the rows of partition 7 in blocks\.arrow lead out of its segm"
                ):
                    store.get(key)
            else:
                assert store.get(key) == b"value"


@pytest.mark.parametrize("name", [MANIFEST, PARTITIONS, BLOCKS])
def test_no_damage_of_a_table_ends_in_anything_but_a_refusal(tmp_path: Path, name: str) -> None:
    """Also of its flatbuffers, of which Arrow checks only that they can be followed, and which have no digest."""
    made = tmp_path / "made"
    keys = random_keys(300, seed=2)
    write_rows(made, rows_of(keys))
    good = (made / name).read_bytes()
    chooser = random.Random(3)
    refused = 0
    for _ in range(200):
        bad = bytearray(good)
        for _ in range(chooser.randint(1, 4)):
            bad[chooser.randrange(len(bad))] = chooser.choice([0, 1, 0x7F, 0x80, 0xFF])
        (made / name).write_bytes(bad)
        try:
            with stored(made) as store:
                lease(store)
                for key in keys:
                    try:
                        assert store.get(key) == b"value"
                    except CorruptBlock:
                        refused += 1
        except InvalidDataset:
            refused += 1
    assert refused > 50
