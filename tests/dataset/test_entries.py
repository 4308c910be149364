"""What the cache tells of itself, and what may go: never what a process has open."""

import os
import re
import shutil
import time
from pathlib import Path

import pytest
from filelock import FileLock

from ringkv.dataset.cache import dataset_path
from ringkv.dataset.dataset import Dataset
from ringkv.dataset.entries import entries, prune
from ringkv.dataset.generate import lines
from tests.support.processes import Spawner, one_line


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def make(tmp_path: Path, name: str, pairs: int) -> Path:
    """A dataset in the cache of a source of this name."""
    (tmp_path / name).write_bytes(b"".join(lines(pairs, 1)))
    return dataset_path(tmp_path / name, cache_dir=tmp_path / "cache")


def test_each_dataset_is_told_with_its_source_its_size_and_its_use(tmp_path: Path, cache: Path) -> None:
    packed = make(tmp_path, "data", 10)
    (found,) = entries(cache)
    size = sum(path.stat().st_size for path in packed.iterdir())
    assert (found.path, found.sources, found.size) == (packed, [str(tmp_path / "data")], size)
    assert (found.current, found.used, abs(found.made - time.time()) < 100) == (True, False, True)
    with Dataset.open(packed):
        assert [entry.used for entry in entries(cache)] == [True]
    (tmp_path / "data").write_bytes(b"")
    assert [entry.current for entry in entries(cache)] == [False]
    (tmp_path / "data").unlink()
    assert [entry.current for entry in entries(cache)] == [False]


def test_what_is_old_goes_and_what_is_current_or_open_stays(tmp_path: Path, cache: Path) -> None:
    current, gone, used = (make(tmp_path, name, 10) for name in ("current", "gone", "used"))
    for name in ("gone", "used"):
        (tmp_path / name).unlink()
    with Dataset.open(used):
        assert [entry.path for entry in prune(cache, everything=False)] == [gone]
        assert sorted(path for path in cache.iterdir() if path.is_dir()) == sorted([current, used])
        assert [entry.path for entry in prune(cache, everything=True)] == [current]
    assert [entry.path for entry in prune(cache, everything=False)] == [used]
    assert list(cache.iterdir()) == []


def test_what_a_killed_packer_left_goes_and_what_one_at_work_holds_stays(tmp_path: Path, cache: Path) -> None:
    make(tmp_path, "data", 10)
    (cache / ".x.abc.ringkv-packing").mkdir()
    (cache / ".x.abc.ringkv-packing" / "0.run").write_bytes(b"run")
    with FileLock(cache / "0123456789abcdef.lock"):
        assert list(prune(cache, everything=False)) == []
        assert (cache / "0123456789abcdef.lock").exists()
    assert not list(cache.glob(".*"))


def test_the_commands_tell_and_prune(spawn: Spawner, tmp_path: Path, cache: Path) -> None:
    empty = spawn("cache", "--cache", cache)
    assert (empty.wait(), empty.out, empty.err) == (0, "", "")
    make(tmp_path, "a", 10)
    make(tmp_path, "b", 20)
    (tmp_path / "b").unlink()
    os.utime(next(path for path in cache.iterdir() if path.is_dir()), (0, time.time() - 50 * 3600))
    for arguments in ([], ["list"]):
        told = spawn("cache", "--cache", cache, *arguments)
        assert told.wait() == 0, told.err
        line = r"(?: +[\d.]+ kB +(?:0\.0 hours|2 days)  (?:current|old    )  \S+/[ab]\n)"
        assert re.fullmatch(f"{line}{{2}}", told.out), told.out
    pruned = spawn("cache", "--cache", cache, "prune")
    assert pruned.wait() == 0, pruned.err
    assert re.fullmatch(r".*  old      \S+/b\n", pruned.out), pruned.out
    rest = spawn("cache", "--cache", cache, "prune", "--all")
    assert rest.wait() == 0, rest.err
    assert re.fullmatch(r".*  current  \S+/a\n", rest.out), rest.out
    assert list(cache.iterdir()) == []
    (tmp_path / "file").touch()
    assert one_line(spawn("cache", "--cache", tmp_path / "file")) == (
        f"Error: {tmp_path}/file: the cache cannot be read: Not a directory"
    )


def test_what_goes_while_it_is_told_of_is_left_out(tmp_path: Path, cache: Path) -> None:
    """As where two prune at once: the others are told of, and removed, all the same."""
    packed = {make(tmp_path, name, 10) for name in ("one", "two", "three")}
    told = entries(cache)
    first = next(told).path
    gone = next(iter(packed - {first}))
    shutil.rmtree(gone)
    assert {first, *(entry.path for entry in told)} == packed - {gone}


def test_a_source_that_has_become_a_damaged_dataset_is_not_current(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "part").write_bytes(b"".join(lines(10, 1)))
    packed = dataset_path(tmp_path / "data", cache_dir=cache)
    (tmp_path / "data" / "manifest.json").write_text("{}")
    assert [entry.current for entry in entries(cache)] == [False]
    assert [entry.path for entry in prune(cache, everything=False)] == [packed]
