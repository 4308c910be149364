"""`ringkv verify` finds every damage, names it, and finds nothing wrong with what is whole."""

import shutil
import struct
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path
from uuid import UUID

import pytest

from cluster.position import partition_shift, position
from dataset.packed import Header, PackedFile, checksum, dataset_id, record_batch, write
from dataset.verify import damages
from tests.support.damage import flip_value_byte
from tests.support.data import EXAMPLE, random_keys
from tests.support.processes import Spawner, one_line
from tests.support.terminal import terminal

PARTITIONS = 256
Row = tuple[int, bytes, bytes]
"""Position, key as 16 bytes, value."""


@pytest.fixture
def whole(generated: Callable[..., tuple[Path, Path]], tmp_path: Path) -> Path:
    shutil.copy(generated(3000)[1], tmp_path / "whole.arrow")
    return tmp_path / "whole.arrow"


def silent(_done: int, _all: int) -> None:
    pass


def found(path: Path) -> list[str]:
    with PackedFile.open(path) as packed:
        return list(damages(packed, silent))


def rows_of(keys: list[bytes]) -> list[Row]:
    return sorted((position(key), UUID(key.decode()).bytes, b"value") for key in keys)


def write_rows(
    path: Path,
    rows: list[Row],
    place: Callable[[Row], int] | None = None,
    says: dict[str, object] | None = None,
    bend: Callable[[list[int]], list[int]] = list,
) -> None:
    """A file whose checksums are right, whatever its rows are.

    `place` gives a row's partition; `says` is what the header claims instead of the truth, `bend` changes the offsets.
    """
    shift = partition_shift(PARTITIONS)
    batches, checksums = [], []
    for partition in range(PARTITIONS):
        mine = [row for row in rows if (place(row) if place else row[0] >> shift) == partition]
        offsets = bend([0, *accumulate(len(value) for _, _, value in mine)])
        columns = [
            struct.pack(f"<{len(mine)}Q", *(row[0] for row in mine)),
            b"".join(row[1] for row in mine),
            struct.pack(f"<{len(offsets)}i", *offsets),
            b"".join(row[2] for row in mine),
        ]
        batches.append(record_batch(len(mine), *columns))
        checksums.append((len(mine), checksum(columns)))
    truth = {"dataset_id": dataset_id(checksums), "keys": len(rows), "source_size": 1, "source_digest": "0" * 32}
    header = Header(**{**truth, "partitions": PARTITIONS, **(says or {})})  # type: ignore[arg-type]
    write(str(path), header, batches, checksums)


@pytest.mark.parametrize("pairs", [0, 1, 3000])
def test_what_was_packed_is_whole(generated: Callable[..., tuple[Path, Path]], pairs: int) -> None:
    assert found(generated(pairs)[1]) == []


def test_progress_ends_with_the_last_partition(whole: Path) -> None:
    steps: list[tuple[int, int]] = []
    with PackedFile.open(whole) as packed:
        list(damages(packed, lambda *step: steps.append(step)))
    assert steps == [(done, PARTITIONS) for done in range(1, PARTITIONS + 1)]


def test_each_damaged_partition_is_named(whole: Path) -> None:
    for partition in (3, 200):
        flip_value_byte(whole, partition)
    first, second = found(whole)
    assert first.startswith(f"{whole}: partition 3 is corrupt: its bytes do not match their checksum")
    assert second.startswith(f"{whole}: partition 200 is corrupt")


KEYS = random_keys(2000, seed=31)
ROWS = rows_of(KEYS)
LAST = ROWS[-1]


@pytest.mark.parametrize(
    ("rows", "place", "reason"),
    [
        (ROWS, None, ""),
        ([*ROWS[:-1], (LAST[0], ROWS[0][1], b"")], None, "partition 255 is wrong: a key does not stand where its hash"),
        ([*ROWS[:-1], (LAST[0], b"\0" * 16, b"")], None, "partition 255 is wrong: a key is no UUID version 4"),
        (list(reversed(ROWS)), None, "partition 0 is wrong: its keys are not in order"),
        ([*ROWS, LAST], None, "partition 255 is wrong: a key stands there twice"),
        (ROWS, lambda row: (row[0] >> 56) ^ 1, "partition 0 is wrong: a key belongs to another partition"),
    ],
)
def test_what_no_checksum_shows_is_found(
    tmp_path: Path, rows: list[Row], place: Callable[[Row], int] | None, reason: str
) -> None:
    write_rows(tmp_path / "made", rows, place)
    lines = found(tmp_path / "made")
    assert bool(lines) == bool(reason)
    assert not reason or reason in lines[0]


def test_offsets_that_lead_elsewhere_are_found(tmp_path: Path) -> None:
    write_rows(tmp_path / "made", ROWS, bend=lambda offsets: [0, offsets[-1], *offsets[2:]])
    lines = found(tmp_path / "made")
    assert len(lines) > 200
    assert all(line.endswith("is wrong: its values overlap; pack its source again") for line in lines)


@pytest.mark.parametrize(
    ("says", "reason"),
    [({"keys": 1}, "holds 2000 keys, but says 1;"), ({"dataset_id": "0" * 32}, f"but says {'0' * 32};")],
)
def test_a_header_that_does_not_fit_is_found(tmp_path: Path, says: dict[str, object], reason: str) -> None:
    write_rows(tmp_path / "made", ROWS, says=says)
    (line,) = found(tmp_path / "made")
    assert reason in line


def test_the_command_tells_of_each_file(spawn: Spawner, whole: Path, tmp_path: Path) -> None:
    shutil.copy(whole, tmp_path / "damaged.arrow")
    for partition in (3, 200):
        flip_value_byte(tmp_path / "damaged.arrow", partition)
    done = spawn("verify", tmp_path / "damaged.arrow", tmp_path / "none", whole)
    assert done.wait() == 1
    with PackedFile.open(whole) as packed:
        assert done.out == f"{whole}: 3,000 keys in 256 partitions, dataset {packed.header.dataset_id}\n"
    assert [line.split(";")[0] for line in done.err.splitlines()] == [
        f"Error: {tmp_path}/damaged.arrow: partition 3 is corrupt: its bytes do not match their checksum",
        f"Error: {tmp_path}/damaged.arrow: partition 200 is corrupt: its bytes do not match their checksum",
        f"Error: {tmp_path}/none: no such file",
    ]


def test_a_whole_file_is_exit_code_0(spawn: Spawner, whole: Path) -> None:
    done = spawn("verify", whole)
    assert (done.wait(), done.err) == (0, "")


def test_a_text_file_is_to_be_packed_first(spawn: Spawner) -> None:
    line = one_line(spawn("verify", EXAMPLE))
    assert line == f"Error: {EXAMPLE}: is not a packed dataset; make one from the data file with `ringkv pack`"


def test_without_a_file_the_usage_is_one_line(spawn: Spawner) -> None:
    assert "FILE" in one_line(spawn("verify"), code=2)


def test_a_terminal_sees_the_progress_and_then_the_result(whole: Path) -> None:
    flip_value_byte(whole, 3)
    with terminal("verify", str(whole), columns=400) as shown:
        assert shown.end() == 1
    assert "verifying whole.arrow" in shown.text
    assert f"Error: {whole}: partition 3 is corrupt" in shown.text
