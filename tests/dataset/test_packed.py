"""The packed file as others see it, and what becomes of it when its bytes are not what was written."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from cluster.errors import CorruptPartition, PackedFileError
from dataset.generate import lines
from dataset.pack import pack
from dataset.packed import Header, PackedFile

Read = Callable[[Path], dict[bytes, bytes]]


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packed")
    (folder / "data").write_bytes(b"".join(lines(600, 3)))
    pack(folder / "data", folder / "packed")
    return folder / "packed"


def test_arrow_opens_it_without_us(example: Path, read: Read) -> None:
    reader = pa.ipc.open_file(pa.memory_map(str(example)))
    table = reader.read_all()
    table.validate(full=True)
    assert str(table.schema) == (
        "position: uint64 not null\nkey: extension<arrow.uuid> not null\nvalue: binary not null"
    )
    assert table["position"].to_pylist() == sorted(table["position"].to_pylist())
    keys = [str(key).encode() for key in table["key"].to_pylist()]
    assert dict(zip(keys, table["value"].to_pylist(), strict=True)) == read(example)
    assert reader.num_record_batches == 256


def test_columns_are_aligned_for_reading_in_place(example: Path) -> None:
    with PackedFile.open(example) as packed:
        extents = [packed.load(partition) for partition in range(packed.header.partitions)]
    assert {extent.positions % 8 for extent in extents} == {0}
    assert {extent.offsets % 4 for extent in extents} == {0}


@pytest.mark.parametrize("size", [0, 1, 5, 6, 7, 10, 100, 1000, 50_000, -10_000, -1000, -100, -11, -10, -6, -1])
def test_a_truncated_file_is_refused(example: Path, tmp_path: Path, size: int) -> None:
    (tmp_path / "cut").write_bytes(example.read_bytes()[: size or None] if size else b"")
    with pytest.raises(PackedFileError, match=r"/cut: is (empty|truncated|not a packed dataset)"):
        PackedFile.open(tmp_path / "cut")


def test_what_is_not_there_or_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PackedFileError, match="/none: no such file"):
        PackedFile.open(tmp_path / "none")
    with pytest.raises(PackedFileError, match="is not a regular file"):
        PackedFile.open(tmp_path)


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        (None, "is an Arrow file, but not of a packed dataset"),
        ({"ringkv": "99"}, "has format version 99, not 1"),
        ({"ringkv": "1"}, "its footer is damaged"),
    ],
)
def test_other_arrow_files_are_refused(tmp_path: Path, metadata: dict[str, str] | None, reason: str) -> None:
    table = pa.table({"a": [1, 2, 3]})
    with pa.ipc.new_file(str(tmp_path / "other"), table.schema, metadata=metadata) as writer:
        writer.write_table(table)
    with pytest.raises(PackedFileError, match=reason):
        PackedFile.open(tmp_path / "other")


def test_a_text_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(b"".join(lines(10, 1)))
    with pytest.raises(PackedFileError, match="is not a packed dataset; make one"):
        PackedFile.open(tmp_path / "text")


Content = list[tuple[bytes, ...] | None]


def content(path: Path) -> tuple[Header, Content]:
    """The header and each partition's columns, None for one that is corrupt."""
    found: Content = []
    with PackedFile.open(path) as packed:
        for partition in range(packed.header.partitions):
            try:
                count, positions, keys, offsets, values = packed.load(partition)
            except CorruptPartition as error:
                found.append(None)
                if not str(error).startswith(f"{path}: partition {partition} is corrupt: "):
                    raise
                continue
            ends = packed.map[offsets : offsets + 4 * (count + 1)]
            size = int.from_bytes(ends[-4:], "little")
            columns = (positions, 8 * count), (keys, 16 * count), (values, size)
            found.append((ends, *(packed.map[at : at + length] for at, length in columns)))
        return packed.header, found


def flips(size: int) -> Iterator[int]:
    """Some of the places in the file, and more of those in its last part, the footer."""
    chooser = random.Random(1)
    yield from sorted(chooser.sample(range(size - 9000), 400) + chooser.sample(range(size - 9000, size), 400))


def test_a_flipped_bit_is_found_or_changes_nothing(example: Path, tmp_path: Path) -> None:
    header, expected = content(example)
    good = example.read_bytes()
    damaged = tmp_path / "damaged"
    found = 0
    for at in flips(len(good)):
        damaged.write_bytes(good[:at] + bytes([good[at] ^ 1 << at % 8]) + good[at + 1 :])
        try:
            seen, partitions = content(damaged)
        except PackedFileError:
            found += 1
            continue
        assert seen == header
        assert len(partitions) == len(expected)
        wrong = [number for number, columns in enumerate(partitions) if columns != expected[number]]
        assert all(partitions[number] is None for number in wrong)
        found += bool(wrong)
    assert found > 400


def test_one_corrupt_partition_leaves_the_others(example: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    data = bytearray(example.read_bytes())
    with PackedFile.open(example) as packed:
        extents = [packed.load(partition) for partition in range(256)]
        full = [partition for partition, extent in enumerate(extents) if extent.count]
    for partition in full[3], full[9]:
        data[extents[partition].keys] ^= 1
    bad.write_bytes(data)
    _, partitions = content(bad)
    assert [number for number, columns in enumerate(partitions) if columns is None] == [full[3], full[9]]


def resident(path: Path) -> int:
    """What the operating system says is resident of the file in this process, in bytes."""
    total = 0
    of_file = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in line.split(" ", 1)[0]:
            of_file = line.endswith(f" {path}")
        elif of_file and line.startswith("Rss:"):
            total += int(line.split()[1]) * 1024
    return total


def test_only_loaded_partitions_are_resident(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"".join(lines(5000, 1, value_size=4096)))
    pack(tmp_path / "data", tmp_path / "packed")
    size = (tmp_path / "packed").stat().st_size
    with PackedFile.open(tmp_path / "packed") as packed:
        third = [partition for partition in range(256) if partition // 4 % 3 == 0]
        packed.advise(third)
        for partition in third:
            packed.load(partition)
        share = size * len(third) / 256
        assert share * 0.9 < resident(packed.path) < share * 1.2
        packed.release(third[::2])
        assert share * 0.4 < resident(packed.path) < share * 0.7
        packed.release(third)
        assert resident(packed.path) == 0
        packed.advise(range(256))
        for partition in range(256):
            packed.load(partition)
        assert resident(packed.path) > size * 0.98


def test_a_view_outlives_the_file_that_it_was_taken_from(example: Path) -> None:
    packed = PackedFile.open(example)
    view = memoryview(packed.map)
    packed.close()
    assert bytes(view[:6]) == b"ARROW1"
    view.release()
