"""What is in a dataset's folder, as programs find it that know nothing of us: pyarrow, pandas, Polars, DuckDB."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb
import pandas as pd  # type: ignore[import-untyped]
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from xxhash import xxh3_64_intdigest

from ringkv.dataset.format import BLOCKS, PARTITIONS
from ringkv.dataset.generate import lines
from ringkv.dataset.manifest import Manifest, parse_manifest
from ringkv.dataset.packing.local import pack
from ringkv.dataset.packing.memory import Budget
from tests.support.data import read_pairs

Pairs = dict[bytes, bytes]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Pairs]:
    """A dataset of several segments and of many empty blocks, and its pairs."""
    folder = tmp_path_factory.mktemp("segments")
    (folder / "data").write_bytes(b"".join(lines(600, 3)))
    manifest = pack(folder / "data", folder / "packed", segment_size=10_000)
    assert len(manifest.segments) > 3
    return folder / "packed", dict(read_pairs(folder / "data"))


def manifest_of(folder: Path) -> Manifest:
    return parse_manifest(folder, (folder / "manifest.json").read_bytes())


def table(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pa.ipc.open_file(path).read_all().to_pylist()
    return rows


def as_pairs(keys: list[UUID], values: list[bytes]) -> Pairs:
    return {str(key).encode(): value for key, value in zip(keys, values, strict=True)}


def test_the_rows_of_blocks_are_what_arrow_reads(made: tuple[Path, Pairs]) -> None:
    folder, _ = made
    rows = iter(table(folder / BLOCKS))
    empty = 0
    for entry in manifest_of(folder).segments:
        content = pa.py_buffer((folder / entry.name).read_bytes())
        batches = pa.ipc.open_file(content)
        assert batches.metadata == {
            b"ringkv": b"2",
            b"hashes": b"crc16-xmodem,xxh3_64",
            b"partitions": f"{entry.first}-{entry.last}".encode(),
        }
        bodies = [
            message.body
            for message in pa.ipc.MessageReader.open_stream(pa.BufferReader(content.slice(8)))
            if message.type == "record batch"
        ]
        assert len(bodies) == batches.num_record_batches
        for number, body in enumerate(bodies):
            row = next(rows)
            assert row["keys"] == batches.get_batch(number).num_rows
            assert row["offset"] == body.address - content.address
            assert row["offset"] % 8 == 0
            assert row["bytes"] == body.size
            assert row["checksum"] == xxh3_64_intdigest(body)
            empty += row["keys"] == 0
            assert row["keys"] or bytes(body) == bytes(8)
    assert list(rows) == []
    assert empty > 5


def test_the_rows_of_partitions_are_the_sums_of_their_blocks(made: tuple[Path, Pairs]) -> None:
    folder, pairs = made
    manifest = manifest_of(folder)
    blocks, partitions = table(folder / BLOCKS), table(folder / PARTITIONS)
    assert (len(blocks), len(partitions)) == (manifest.blocks, manifest.partitions)
    for name in ("keys", "bytes"):
        assert [row[name] for row in partitions] == [row[name] for row in blocks]
        assert getattr(manifest, name) == sum(row[name] for row in partitions)
    assert manifest.keys == len(pairs)


def test_arrow_opens_each_segment_and_all_of_them_together(made: tuple[Path, Pairs]) -> None:
    folder, pairs = made
    files = sorted(folder.glob("segment-*.arrow"))
    found: Pairs = {}
    for path in files:
        content = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        content.validate(full=True)
        assert str(content.schema) == "key: extension<arrow.uuid> not null\nvalue: binary not null"
        found |= as_pairs(content["key"].to_pylist(), content["value"].to_pylist())
    assert found == pairs
    together = ds.dataset([str(path) for path in files], format="ipc").to_table()
    assert as_pairs(together["key"].to_pylist(), together["value"].to_pylist()) == pairs


def test_pandas_opens_each_segment_and_all_of_them_together(made: tuple[Path, Pairs]) -> None:
    folder, pairs = made
    frames = [pd.read_feather(path) for path in sorted(folder.glob("segment-*.arrow"))]
    assert {tuple(frame.columns) for frame in frames} == {("key", "value")}
    together = pd.concat(frames)
    assert as_pairs(list(together.key), list(together.value)) == pairs


def test_polars_opens_each_segment_and_all_of_them_together(made: tuple[Path, Pairs]) -> None:
    folder, pairs = made
    files = sorted(folder.glob("segment-*.arrow"))
    apart = [row for path in files for row in pl.read_ipc(path).rows()]
    together = pl.scan_ipc(str(folder / "segment-*.arrow")).collect().rows()
    for rows in (apart, together):
        assert as_pairs([UUID(bytes=key) for key, _ in rows], [value for _, value in rows]) == pairs


def _ask(query: str, **tables: Any) -> list[Any]:
    with duckdb.connect() as connection:
        for name, content in tables.items():
            connection.register(name, content)
        return connection.execute(query).fetchall()


def test_duckdb_opens_each_segment_and_all_of_them_together(made: tuple[Path, Pairs]) -> None:
    folder, pairs = made
    files = sorted(folder.glob("segment-*.arrow"))
    apart: Pairs = {}
    for path in files:
        segment = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        rows = _ask("SELECT key, value FROM segment", segment=segment)
        assert len(rows) == segment.num_rows
        apart |= as_pairs([row[0] for row in rows], [row[1] for row in rows])
    together = ds.dataset([str(path) for path in files], format="ipc")
    key = random.Random(1).choice(sorted(pairs))
    found = _ask(f"SELECT value FROM together WHERE key = '{key.decode()}'", together=together)
    assert (apart, found, together.count_rows()) == (pairs, [(pairs[key],)], len(pairs))


def test_segments_are_cut_evenly_and_between_partitions(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"".join(lines(20_000, 5)))
    made = pack(tmp_path / "data", tmp_path / "packed", segment_size=100_000, budget=Budget(1, 1 << 20))
    assert 15 < len(made.segments) < 25
    sizes = [entry.size for entry in made.segments]
    assert max(sizes) < 1.3 * min(sizes)


def test_a_key_costs_22_bytes_beside_its_value(generated: Callable[..., tuple[Path, Path]]) -> None:
    data, packed = generated(100_000)
    values = data.stat().st_size - 38 * 100_000
    took = sum(path.stat().st_size for path in packed.iterdir())
    assert (took - values) / 100_000 <= 22
