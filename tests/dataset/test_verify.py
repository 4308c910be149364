"""`ringkv verify` finds every damage, names it, and finds nothing wrong with what is whole."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ringkv.cluster.errors import InvalidDataset
from ringkv.dataset.dataset import Dataset
from ringkv.dataset.verify import damages
from tests.support.damage import copy_dataset, flip_value_byte
from tests.support.data import EXAMPLE, random_keys
from tests.support.handmade import COUNT, Row, rows_of, write_rows
from tests.support.packed import pack_pairs
from tests.support.processes import Spawner, one_line
from tests.support.terminal import terminal


@pytest.fixture
def whole(generated: Callable[..., tuple[Path, Path]], tmp_path: Path) -> Path:
    return copy_dataset(generated(3000)[1], tmp_path / "whole")


def silent(_done: int, _all: int) -> None:
    pass


def found(path: Path) -> list[str]:
    with Dataset.open(path) as dataset:
        return list(damages(dataset, silent))


@pytest.mark.parametrize("pairs", [0, 1, 2, 3, 4, 5, 6, 3000])
def test_what_was_packed_is_whole(tmp_path: Path, pairs: int) -> None:
    assert found(pack_pairs(tmp_path, {key: key[:9] for key in random_keys(pairs, seed=pairs)})) == []


def test_progress_ends_with_the_last_partition(whole: Path) -> None:
    steps: list[tuple[int, int]] = []
    with Dataset.open(whole) as dataset:
        list(damages(dataset, lambda *step: steps.append(step)))
    assert steps == [(done, COUNT) for done in range(1, COUNT + 1)]


def test_each_damaged_block_is_named(whole: Path) -> None:
    for block in (3, 200):
        flip_value_byte(whole, block)
    first, second = found(whole)
    assert first.startswith(f"{whole}: block 3 is corrupt: its bytes do not match their checksum")
    assert second.startswith(f"{whole}: block 200 is corrupt")


KEYS = random_keys(2000, seed=31)
ROWS = rows_of(KEYS)
LAST = ROWS[-1]


@pytest.mark.parametrize(
    ("rows", "place", "reason"),
    [
        (ROWS, None, ""),
        ([*ROWS[:-1], (LAST[0], ROWS[0][1], b"")], None, "block 255 is wrong: a key belongs to another block"),
        ([*ROWS[:-1], (LAST[0], b"\0" * 16, b"")], None, "block 255 is wrong: a key is no UUID version 4"),
        (list(reversed(ROWS)), None, "block 0 is wrong: its keys are not in order"),
        ([*ROWS, LAST], None, "block 255 is wrong: a key stands there twice"),
        (ROWS, lambda row: (row[0] >> 56) ^ 1, "block 0 is wrong: a key belongs to another block"),
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
    # A block of two keys is not bent by this.
    assert all(
        "is wrong: its values are not one behind the other; pack the source of the data" in line for line in lines
    )
    write_rows(tmp_path / "short", ROWS, bend=lambda offsets: [*offsets[:-1], offsets[-1] - 8])
    assert all(
        "its offsets do not fit its values" in line or "is wrong: it" in line for line in found(tmp_path / "short")
    )
    assert len(found(tmp_path / "short")) > 200


@pytest.mark.parametrize(
    ("says", "reason"),
    [
        ({"keys": 1}, "does not hold as many keys as it says;"),
        ({"dataset_id": "0" * 32}, f"but its manifest says {'0' * 32};"),
    ],
)
def test_a_manifest_that_does_not_fit_is_found(tmp_path: Path, says: dict[str, Any], reason: str) -> None:
    write_rows(tmp_path / "made", ROWS, **says)
    with pytest.raises(InvalidDataset, match=reason):
        found(tmp_path / "made")


def test_the_command_tells_of_each_dataset(spawn: Spawner, whole: Path, tmp_path: Path) -> None:
    damaged = copy_dataset(whole, tmp_path / "damaged")
    for block in (3, 200):
        flip_value_byte(damaged, block)
    done = spawn("verify", damaged, tmp_path / "none", whole)
    assert done.wait() == 1
    with Dataset.open(whole) as dataset:
        assert done.out == f"{whole}: 3,000 keys in 256 partitions of 1 block, dataset {dataset.manifest.dataset_id}\n"
    assert [line.split(";")[0] for line in done.err.splitlines()] == [
        f"Error: {tmp_path}/damaged: block 3 is corrupt: its bytes do not match their checksum",
        f"Error: {tmp_path}/damaged: block 200 is corrupt: its bytes do not match their checksum",
        f"Error: {tmp_path}/none: no such folder",
    ]


def test_a_whole_dataset_is_exit_code_0(spawn: Spawner, whole: Path) -> None:
    done = spawn("verify", whole)
    assert (done.wait(), done.err) == (0, "")


def test_a_text_file_is_to_be_packed_first(spawn: Spawner) -> None:
    line = one_line(spawn("verify", EXAMPLE))
    assert (
        line
        == f"Error: {EXAMPLE}: is not a packed dataset, which is a folder; make one with `ringkv pack SOURCE FOLDER`"
    )


def test_without_a_dataset_the_usage_is_one_line(spawn: Spawner) -> None:
    assert "DATASET" in one_line(spawn("verify"), code=2)


def test_a_terminal_sees_the_progress_and_then_the_result(whole: Path) -> None:
    flip_value_byte(whole, 3)
    with terminal("verify", str(whole), columns=400) as shown:
        assert shown.end() == 1
    assert "verifying whole" in shown.text
    assert f"Error: {whole}: block 3 is corrupt" in shown.text
