"""The packed dataset as others see it, and what becomes of it when its bytes are not what was written."""

import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset
import pytest

from ringkv.cluster.errors import CorruptBlock, InvalidDataset
from ringkv.cluster.position import position
from ringkv.dataset.block import Row, damage
from ringkv.dataset.dataset import Dataset
from ringkv.dataset.format import BLOCKS, MANIFEST, PARTITIONS, SEGMENT_SCHEMA, segment_name
from ringkv.dataset.generate import lines
from ringkv.dataset.manifest import Manifest
from tests.support.data import random_keys
from tests.support.handmade import alter_manifest
from tests.support.packed import pack_pairs

Read = Callable[[Path], dict[bytes, bytes]]
SEGMENTS = 3


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pairs = dict(line.rstrip(b"\n").split(b" ", 1) for line in lines(600, 3))
    packed = pack_pairs(tmp_path_factory.mktemp("packed"), pairs, segment_size=20_000)
    with Dataset.open(packed) as dataset:
        assert len(dataset.segments) == SEGMENTS
    return packed


@pytest.fixture
def copy(example: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(example, tmp_path / "copy"))


def test_arrow_opens_each_segment_without_us_and_all_of_them_as_one(example: Path, read: Read) -> None:
    batches = 0
    pairs: list[tuple[bytes, bytes]] = []
    for number in range(SEGMENTS):
        reader = pa.ipc.open_file(pa.memory_map(str(example / segment_name(number))))
        table = reader.read_all()
        table.validate(full=True)
        assert table.schema.equals(SEGMENT_SCHEMA)
        assert str(table.schema) == "key: extension<arrow.uuid> not null\nvalue: binary not null"
        batches += reader.num_record_batches
        keys = (str(key).encode() for key in table["key"].to_pylist())
        pairs += zip(keys, table["value"].to_pylist(), strict=True)
    assert batches == 256
    assert [key for key, _ in pairs] == sorted((key for key, _ in pairs), key=position)
    assert dict(pairs) == read(example)
    whole = pa.dataset.dataset(sorted(map(str, example.glob("segment-*"))), format="ipc").to_table()
    assert whole["value"].to_pylist() == [value for _, value in pairs]


def test_the_tables_are_arrow_files_too(example: Path) -> None:
    partitions, blocks = (pa.ipc.open_file(str(example / name)).read_all() for name in (PARTITIONS, BLOCKS))
    assert (partitions.num_rows, blocks.num_rows) == (256, 256)
    assert sum(partitions["keys"].to_pylist()) == sum(blocks["keys"].to_pylist()) == 600
    assert partitions["bytes"].to_pylist() == blocks["bytes"].to_pylist()


FILES = [MANIFEST, PARTITIONS, BLOCKS, *map(segment_name, range(SEGMENTS))]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("size", [0, 1, 6, 100, -1000, -100, -10, -3])
def test_a_file_that_is_cut_off_is_refused(copy: Path, name: str, size: int) -> None:
    os.truncate(copy / name, size if size >= 0 else max(0, (copy / name).stat().st_size + size))
    with pytest.raises(
        InvalidDataset, match=rf"^{copy}/{name}: (is damaged|is not|has) .*pack|^{copy}/{name}: is dama"
    ):
        Dataset.open(copy)


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_missing_or_none_is_refused(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(InvalidDataset, match=rf"^{copy}.*no such file|it has no manifest\.json; make one with"):
        Dataset.open(copy)
    os.mkfifo(copy / name)
    with pytest.raises(InvalidDataset, match=f"^{copy}/{name}: (is|cannot be)"):
        Dataset.open(copy)
    (copy / name).unlink()
    (copy / name).mkdir()
    with pytest.raises(InvalidDataset, match=f"^{copy}/{name}: (is|cannot be)"):
        Dataset.open(copy)


def test_what_is_no_folder_of_a_dataset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidDataset, match="/none: no such folder; make it with `ringkv pack`"):
        Dataset.open(tmp_path / "none")
    (tmp_path / "text").write_bytes(b"".join(lines(10, 1)))
    with pytest.raises(InvalidDataset, match="/text: is not a packed dataset, which is a folder; make one with"):
        Dataset.open(tmp_path / "text")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidDataset, match=r"/empty: is not a packed dataset: it has no manifest\.json; make one"):
        Dataset.open(tmp_path / "empty")


@pytest.mark.parametrize("version", [1, 3, "2", [], "x" * 500])
def test_another_version_is_refused_in_a_short_line(copy: Path, version: object) -> None:
    alter_manifest(copy, ringkv=version)
    with pytest.raises(InvalidDataset, match=r"has format version .*, not 2; pack its source again") as refusal:
        Dataset.open(copy)
    assert len(str(refusal.value)) < len(str(copy)) + 100


def test_a_segment_or_table_of_another_dataset_is_refused(copy: Path, tmp_path: Path) -> None:
    other = pack_pairs(tmp_path, dict.fromkeys(random_keys(600, seed=4), b"value"))
    shutil.copy(other / PARTITIONS, copy / PARTITIONS)
    with pytest.raises(
        InvalidDataset, match=r"its partitions are those of dataset [0-9a-f]{32}, but its manifest says"
    ):
        Dataset.open(copy)
    shutil.copy(other / segment_name(0), copy / segment_name(0))
    with pytest.raises(InvalidDataset):
        Dataset.open(copy)


def test_rows_that_are_not_those_of_the_partition_are_refused(copy: Path, tmp_path: Path) -> None:
    other = pack_pairs(tmp_path, dict.fromkeys(random_keys(600, seed=4), b"value"))
    shutil.copy(other / BLOCKS, copy / BLOCKS)
    with Dataset.open(copy) as dataset:
        partition = next(number for number in range(256) if dataset.partitions.keys[number])
        with pytest.raises(CorruptBlock, match=rf"the rows of partition {partition} in {BLOCKS} do not match their"):
            dataset.blocks_of(partition)


Content = list[bytes | None]


def content(path: Path) -> tuple[Manifest, Content]:
    """The manifest and each block's body, None for one that is corrupt."""
    found: Content = []
    with Dataset.open(path) as dataset:
        for partition in range(dataset.manifest.partitions):
            try:
                (row,) = [Row._make(row) for row in dataset.blocks_of(partition).tolist()]
            except CorruptBlock as error:
                found.append(None)
                if not str(error).startswith(f"{path}: block {partition} is corrupt: "):
                    raise
                continue
            body = dataset.segments[dataset.segment_of(partition)].read(row.offset, row.size)
            found.append(None if damage(body, row) else body)
        return dataset.manifest, found


def flips(path: Path) -> Iterator[tuple[str, int]]:
    """Some of the places in each file."""
    chooser = random.Random(1)
    for name in FILES:
        size = (path / name).stat().st_size
        yield from ((name, at) for at in chooser.sample(range(size), min(150, size)))


def test_a_flipped_bit_is_found_or_changes_nothing(copy: Path) -> None:
    manifest, expected = content(copy)
    found = 0
    for name, at in flips(copy):
        good = (copy / name).read_bytes()
        (copy / name).write_bytes(good[:at] + bytes([good[at] ^ 1 << at % 8]) + good[at + 1 :])
        try:
            seen, blocks = content(copy)
        except InvalidDataset:
            found += 1
        else:
            # Names and times of sources are for people, and have no digest.
            assert (seen.dataset_id, seen.keys, seen.blocks) == (manifest.dataset_id, manifest.keys, manifest.blocks)
            wrong = [number for number, body in enumerate(blocks) if body != expected[number]]
            assert all(blocks[number] is None for number in wrong)
            assert len(wrong) <= 1
            found += bool(wrong)
        (copy / name).write_bytes(good)
    assert found > 300


def test_a_view_outlives_the_dataset_that_it_was_taken_from(example: Path) -> None:
    dataset = Dataset.open(example)
    view = memoryview(dataset.segments[0].map)
    dataset.close()
    assert bytes(view[:6]) == b"ARROW1"
    view.release()


def test_what_is_opened_stays_when_the_folder_is_replaced(copy: Path, example: Path) -> None:
    _, expected = content(example)
    with Dataset.open(copy) as dataset:
        copy.rename(copy.with_name("old"))
        shutil.rmtree(copy.with_name("old"))
        rows = [Row._make(dataset.blocks_of(partition)[0].tolist()) for partition in range(256)]
        bodies = [
            dataset.segments[dataset.segment_of(number)].read(row.offset, row.size) for number, row in enumerate(rows)
        ]
        assert bodies == expected
