"""A mirror: what is in it is not fetched again, what is damaged is, and what nobody claims goes when room is needed."""

import asyncio
import errno
import json
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from ringkv.cluster.errors import CacheError, CorruptBlock, DatasetError, InvalidDataset, StoreError
from ringkv.dataset.dataset import Dataset
from ringkv.dataset.durable import replace_file
from ringkv.dataset.mirror import Mirror
from ringkv.dataset.objects import Objects
from ringkv.dataset.segment import Segment
from tests.support.damage import flip, place_of
from tests.support.handmade import alter_manifest
from tests.support.processes import wait_for
from tests.support.web import Web


def mirrored(mirror: Mirror, remote: Web, name: str = "one") -> Dataset:
    return mirror.open(Objects.at(remote.url), "packed", name)


def all_of(dataset: Dataset) -> dict[bytes, bytes]:
    return dict(dataset.items())


def size_of(folder: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in folder.glob("segment-*"))


@pytest.fixture
def mirror(tmp_path: Path) -> Mirror:
    return Mirror(tmp_path / "cache")


def test_it_takes_the_room_of_what_was_read_and_looks_like_the_dataset(
    packed: Path, remote: Web, mirror: Mirror, pairs: dict[bytes, bytes]
) -> None:
    with mirrored(mirror, remote) as dataset:
        assert size_of(dataset.path) == 0
        key = next(iter(pairs))
        assert dataset.get(key) == pairs[key]
        assert 0 < size_of(dataset.path) <= 3 * 4096
        for entry in dataset.manifest.segments:
            assert (dataset.path / entry.name).stat().st_size == (packed / entry.name).stat().st_size
    assert (mirror.path.stat().st_mode & 0o777, dataset.path.stat().st_mode & 0o777) == (0o700, 0o700)


def test_nothing_is_fetched_again_by_another_process(remote: Web, mirror: Mirror, pairs: dict[bytes, bytes]) -> None:
    with mirrored(mirror, remote) as dataset:
        assert all_of(dataset) == pairs
    mirror.close()
    remote.asked.clear()
    remote.fault = "refuse"
    with mirrored(Mirror(mirror.path), remote) as dataset:
        assert all_of(dataset) == pairs
    assert remote.asked == []


def test_a_damaged_block_is_fetched_again_and_nothing_else(
    packed: Path, remote: Web, mirror: Mirror, pairs: dict[bytes, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    with mirrored(mirror, remote) as dataset:
        assert all_of(dataset) == pairs
    remote.asked.clear()
    place = place_of(packed, 7)
    flip(dataset.path / place.segment.name, place.row.offset + 100)
    for requests in (1, 0):
        with mirrored(mirror, remote) as dataset:
            assert all_of(dataset) == pairs
        assert len(remote.asked) == requests
        remote.asked.clear()
    assert mirror.fetches.healed == 1
    assert f"{dataset.path}/{place.segment.name}: the block at byte {place.row.offset} is damaged: " in caplog.text


@pytest.mark.parametrize("name", ["manifest.json", "partitions.arrow", "blocks.arrow", "tables.json"])
@pytest.mark.parametrize("how", ["flipped", "empty", "gone"])
def test_a_damaged_table_is_fetched_again(
    remote: Web, mirror: Mirror, pairs: dict[bytes, bytes], name: str, how: str
) -> None:
    with mirrored(mirror, remote) as dataset:
        assert all_of(dataset) == pairs
    path = dataset.path / name
    if how == "flipped":
        flip(path, path.stat().st_size // 2)
    elif how == "empty":
        path.write_bytes(b"")
    else:
        path.unlink()
    remote.asked.clear()
    with mirrored(mirror, remote) as dataset:
        assert all_of(dataset) == pairs
    assert [asked.path.rpartition("/")[2] for asked in remote.asked if asked.path.endswith(name)] == [name] * (
        name != "tables.json"
    )
    assert not remote.ranges()


@pytest.mark.parametrize("name", ["manifest.json", "partitions.arrow", "blocks.arrow"])
def test_a_table_that_came_damaged_is_fetched_once_more(
    remote: Web, mirror: Mirror, pairs: dict[bytes, bytes], name: str
) -> None:
    remote.fault, remote.fails, remote.failing = "flip", 1, name
    with suppress(InvalidDataset, CorruptBlock, StoreError), mirrored(mirror, remote) as dataset:
        all_of(dataset)
    with mirrored(mirror, remote) as dataset:
        assert all_of(dataset) == pairs


@pytest.mark.parametrize("size", [1 << 62, 1 << 63])
def test_a_manifest_that_asks_for_files_as_large_as_none_is_refused(
    packed: Path, remote: Web, mirror: Mirror, size: int
) -> None:
    manifest = json.loads((packed / "manifest.json").read_text())
    segments = [{**segment, "size": size} for segment in manifest["segments"]]
    alter_manifest(packed, segments=segments)
    with pytest.raises(DatasetError):
        mirrored(mirror, remote)


def test_a_segment_of_another_size_gets_its_size_back(remote: Web, mirror: Mirror, pairs: dict[bytes, bytes]) -> None:
    with mirrored(mirror, remote) as dataset:
        assert all_of(dataset) == pairs
    os.truncate(dataset.path / "segment-00000.arrow", 1000)
    os.truncate(dataset.path / "segment-00001.arrow", 1 << 20)
    with mirrored(mirror, remote) as dataset:
        assert all_of(dataset) == pairs


def test_a_block_that_came_damaged_is_fetched_once_more(remote: Web, mirror: Mirror, pairs: dict[bytes, bytes]) -> None:
    with mirrored(mirror, remote) as dataset:
        remote.fault, remote.fails = "flip", 1
        key = next(iter(pairs))
        assert dataset.get(key) == pairs[key]
        assert len(remote.ranges()) == 2


@pytest.mark.parametrize("fault", ["500", "503", "cut", "refuse"])
def test_what_fails_for_a_moment_fails_nothing(
    remote: Web, mirror: Mirror, pairs: dict[bytes, bytes], fault: str
) -> None:
    remote.fault, remote.fails = fault, 2
    with mirrored(mirror, remote) as dataset:
        remote.fails = 1
        assert all_of(dataset) == pairs


def test_an_answer_that_is_too_short_is_an_error_of_the_store(
    remote: Web, mirror: Mirror, pairs: dict[bytes, bytes]
) -> None:
    with mirrored(mirror, remote) as dataset:
        remote.fault = "short"
        with pytest.raises(StoreError):
            dataset.get(next(iter(pairs)))


def test_a_cache_belongs_to_one_process(mirror: Mirror) -> None:
    with pytest.raises(CacheError, match="another process has this cache"):
        Mirror(mirror.path)
    mirror.close()
    Mirror(mirror.path).close()


def test_a_cache_that_cannot_be_used_is_told_in_one_line(tmp_path: Path, remote: Web) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CacheError, match=r"file/cache: the cache cannot be used: Not a directory; choose .* --cache$"):
        Mirror(tmp_path / "file" / "cache")
    mirror = Mirror(tmp_path / "cache")
    (mirror.path / "one" / "manifest.json").mkdir(parents=True)
    with pytest.raises(CacheError, match="the cache cannot be used: Is a directory"):
        mirrored(mirror, remote)


def test_datasets_that_are_not_open_go_first_the_oldest_before_the_others(
    remote: Web, tmp_path: Path, pairs: dict[bytes, bytes]
) -> None:
    with mirrored(Mirror(tmp_path / "sizing"), remote) as dataset:
        all_of(dataset)
        size = size_of(dataset.path)
    mirror = Mirror(tmp_path / "cache", 3 * size)
    for number, name in enumerate(["oldest", "older", "open"]):
        dataset = mirrored(mirror, remote, name)
        os.utime(dataset.path, (number, number))
        assert all_of(dataset) == pairs
        if name != "open":
            dataset.close()
    assert sorted(path.name for path in mirror.path.iterdir() if path.is_dir()) == ["older", "open"]
    dataset.close()


def test_what_is_being_opened_stays_however_little_room_there_is(
    remote: Web, tmp_path: Path, pairs: dict[bytes, bytes]
) -> None:
    mirror = Mirror(tmp_path / "cache", 100_000)
    with mirrored(mirror, remote, "open") as dataset, ThreadPoolExecutor(1) as pool:
        assert all_of(dataset) == pairs
        remote.fault, remote.failing = "hang", "blocks.arrow"
        opening = pool.submit(mirrored, mirror, remote, "next")
        wait_for((mirror.path / "next" / "partitions.arrow").exists)
        assert all_of(dataset) == pairs
        remote.fault = ""
        remote.gate.set()
        with opening.result() as other:
            assert all_of(other) == pairs
            assert (other.path / "manifest.json").exists()


def test_what_is_claimed_stays_and_the_rest_becomes_holes(
    remote: Web, tmp_path: Path, pairs: dict[bytes, bytes]
) -> None:
    with mirrored(Mirror(tmp_path / "sizing"), remote) as dataset:
        all_of(dataset)
        size = size_of(dataset.path)
    mirror = Mirror(tmp_path / "cache", size)
    old, new = mirrored(mirror, remote, "old"), mirrored(mirror, remote, "new")
    kept = range(10, 60)
    old.claim(kept)
    assert all_of(old) == pairs
    assert all_of(new) == pairs
    assert mirror.room.taken() <= size
    assert size_of(old.path) < size
    remote.asked.clear()
    assert dict(old.items(10, 60)).items() <= pairs.items()
    assert remote.asked == []
    assert all_of(old) == pairs
    assert remote.asked
    old.close()
    new.close()


def test_what_has_no_room_is_read_without_being_kept(
    remote: Web, tmp_path: Path, pairs: dict[bytes, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    mirror = Mirror(tmp_path / "cache", 100_000)
    with mirrored(mirror, remote) as dataset:
        dataset.claim(range(dataset.manifest.partitions))
        for _ in range(2):
            assert all_of(dataset) == pairs
        assert mirror.room.taken() <= 100_000
    assert caplog.text.count("its limit of 100000 bytes is reached") == 1


def test_a_full_disk_fails_no_read_and_lets_go_of_what_is_not_open(
    remote: Web, mirror: Mirror, pairs: dict[bytes, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    with mirrored(mirror, remote, "old") as old:
        all_of(old)

    def full(_segment: Segment, _offset: int, _data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Segment, "_write", full)
    with mirrored(mirror, remote) as dataset:
        for _ in range(2):
            assert all_of(dataset) == pairs
    assert not old.path.exists()


@pytest.mark.parametrize("fetched", [False, True])
def test_tables_that_find_the_disk_full_are_kept_in_the_place_of_what_is_not_open(
    remote: Web, mirror: Mirror, pairs: dict[bytes, bytes], monkeypatch: pytest.MonkeyPatch, *, fetched: bool
) -> None:
    with mirrored(mirror, remote, "old") as old:
        all_of(old)

    def full(path: Path, data: bytes) -> None:
        if old.path.exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace_file(path, data)

    monkeypatch.setattr("ringkv.dataset.mirror.replace_file", full)
    if fetched:
        asyncio.run(mirror.fetch(Objects.at(remote.url), "packed", "one"))
    with mirrored(mirror, remote) as dataset:
        assert all_of(dataset) == pairs
    assert not old.path.exists()


def test_no_hole_is_made_where_the_table_of_blocks_cannot_be_right(
    remote: Web, packed: Path, tmp_path: Path, pairs: dict[bytes, bytes]
) -> None:
    """The wrong place of a partition that may go is, or is not, the place of one that must stay."""
    with Dataset.open(packed) as dataset:
        offsets = [int(dataset.blocks_of(partition)[0]["offset"]) for partition in range(8)]
    table = (packed / "blocks.arrow").read_bytes()
    at = table.index(b"".join(offset.to_bytes(4, "little") for offset in offsets))
    flip(packed / "blocks.arrow", at + 5 * 4 + 1)
    mirror = Mirror(tmp_path / "cache", 150_000)
    with mirrored(mirror, remote) as dataset:
        assert dataset.extents_of(0) is None
        assert dataset.extents_of(1) is not None
        for partition in range(dataset.manifest.partitions):
            with suppress(CorruptBlock):
                assert dict(dataset.items(partition, partition + 1)).items() <= pairs.items()
        first = dataset.segments[0]
        assert first.path.stat().st_blocks * 512 >= first.entry.size - 2 * 4096
        assert mirror.room.taken() <= 150_000
