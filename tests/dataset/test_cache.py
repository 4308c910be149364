"""The cache: packed once, whoever asks and however often, and never served when it is old or damaged."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.errors import MalformedLine, PackingFailed, SourceError
from dataset.cache import packed_path
from dataset.generate import lines
from dataset.packed import PackedFile


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "data").write_bytes(b"".join(lines(1000, 1)))
    return tmp_path / "data"


def entries(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.suffix != ".lock"]


def test_a_source_is_packed_once(source: Path, tmp_path: Path) -> None:
    first = packed_path(source, cache_dir=tmp_path / "cache")
    made = first.stat()
    assert packed_path(source, cache_dir=tmp_path / "cache") == first
    assert first.stat().st_ino == made.st_ino
    assert entries(tmp_path / "cache") == [first]


def test_a_packed_file_is_its_own(source: Path, tmp_path: Path) -> None:
    packed = packed_path(source, cache_dir=tmp_path / "cache")
    assert packed_path(packed, cache_dir=tmp_path / "other") == packed
    assert not (tmp_path / "other").exists()


def test_a_changed_source_is_packed_anew_and_replaces_the_old(source: Path, tmp_path: Path) -> None:
    old = packed_path(source, cache_dir=tmp_path / "cache")
    source.write_bytes(b"".join(lines(2000, 2)))
    new = packed_path(source, cache_dir=tmp_path / "cache")
    assert entries(tmp_path / "cache") == [new]
    assert new != old
    with PackedFile.open(new) as packed:
        assert packed.header.keys == 2000


def test_an_old_entry_stays_as_long_as_somebody_has_it_open(source: Path, tmp_path: Path) -> None:
    first = packed_path(source, cache_dir=tmp_path / "cache")
    with PackedFile.open(first):
        source.write_bytes(b"".join(lines(10, 2)))
        second = packed_path(source, cache_dir=tmp_path / "cache")
        assert set(entries(tmp_path / "cache")) == {first, second}
    source.write_bytes(b"".join(lines(10, 3)))
    third = packed_path(source, cache_dir=tmp_path / "cache")
    assert entries(tmp_path / "cache") == [third]


def test_a_damaged_entry_is_rebuilt(source: Path, tmp_path: Path) -> None:
    entry = packed_path(source, cache_dir=tmp_path / "cache")
    good = entry.read_bytes()
    entry.write_bytes(good[:-100])
    assert packed_path(source, cache_dir=tmp_path / "cache") == entry
    assert entry.read_bytes() == good


def test_each_policy_has_an_entry_of_its_own(source: Path, tmp_path: Path) -> None:
    line = source.read_bytes().split(b"\n")[0]
    source.write_bytes(source.read_bytes() + line + b"\n")
    assert packed_path(source, cache_dir=tmp_path / "cache", on_duplicate="first").exists()
    with pytest.raises(SourceError, match=r"data:1001: key .* stands on line 1 too"):
        packed_path(source, cache_dir=tmp_path / "cache")


def test_a_source_that_cannot_be_packed_leaves_no_entry(source: Path, tmp_path: Path) -> None:
    source.write_bytes(b"nonsense\n")
    with pytest.raises(MalformedLine):
        packed_path(source, cache_dir=tmp_path / "cache")
    assert entries(tmp_path / "cache") == []


def test_a_cache_that_is_no_folder_is_refused_with_what_to_do(source: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PackingFailed, match=r"/file/cache: the cache cannot be used: .*--cache"):
        packed_path(source, cache_dir=tmp_path / "file" / "cache")


ASK = """
import sys
from pathlib import Path
from dataset.cache import packed_path

calls = []
sys.stdin.readline()
path = packed_path(Path(sys.argv[1]), cache_dir=Path(sys.argv[2]), progress=lambda *step: calls.append(step))
print(path, path.stat().st_ino, bool(calls))
"""


def test_of_many_processes_that_ask_at_once_one_packs(source: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", ASK, str(source), str(tmp_path / "cache")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    askers = [subprocess.Popen(command, **pipes) for _ in range(4)]  # type: ignore[call-overload]
    for asker in askers:
        asker.stdin.write("go\n")
        asker.stdin.flush()
    answers = [asker.communicate()[0].split() for asker in askers]
    assert len({(path, inode) for path, inode, _ in answers}) == 1
    assert sorted(packed for *_, packed in answers) == ["False", "False", "False", "True"]
    assert [os.fspath(path) for path in entries(tmp_path / "cache")] == [answers[0][0]]
