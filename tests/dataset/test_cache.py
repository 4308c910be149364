"""The cache: packed once, whoever asks and however often, and never served when it is old or damaged."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from xxhash import xxh3_128_hexdigest

from ringkv.cluster.errors import InvalidDataset, MalformedLine, PackingFailed, SourceError
from ringkv.dataset.cache import dataset_path, packed_dataset
from ringkv.dataset.dataset import Dataset
from ringkv.dataset.format import BLOCKS, MANIFEST, PARTITIONS, segment_name
from ringkv.dataset.generate import lines
from ringkv.dataset.verify import damages
from tests.dataset.source.kinds import fed_pipe, table
from tests.support.data import random_keys
from tests.support.processes import Spawner, one_line


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "data").write_bytes(b"".join(lines(1000, 1)))
    return tmp_path / "data"


def entries(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.suffix not in {".lock", ".json"}]


def test_a_source_is_packed_once(source: Path, tmp_path: Path) -> None:
    first = dataset_path(source, cache_dir=tmp_path / "cache")
    made = first.stat()
    assert dataset_path(source, cache_dir=tmp_path / "cache") == first
    assert first.stat().st_ino == made.st_ino
    assert entries(tmp_path / "cache") == [first]


def test_a_dataset_is_its_own(source: Path, tmp_path: Path) -> None:
    packed = dataset_path(source, cache_dir=tmp_path / "cache")
    assert dataset_path(packed, cache_dir=tmp_path / "other") == packed
    assert not (tmp_path / "other").exists()


def test_a_changed_source_is_packed_anew_and_replaces_the_old(source: Path, tmp_path: Path) -> None:
    old = dataset_path(source, cache_dir=tmp_path / "cache")
    source.write_bytes(b"".join(lines(2000, 2)))
    new = dataset_path(source, cache_dir=tmp_path / "cache")
    assert entries(tmp_path / "cache") == [new]
    assert new != old
    with Dataset.open(new) as dataset:
        assert dataset.manifest.keys == 2000


def test_an_old_entry_stays_as_long_as_somebody_has_it_open(source: Path, tmp_path: Path) -> None:
    first = dataset_path(source, cache_dir=tmp_path / "cache")
    with Dataset.open(first):
        source.write_bytes(b"".join(lines(10, 2)))
        second = dataset_path(source, cache_dir=tmp_path / "cache")
        assert set(entries(tmp_path / "cache")) == {first, second}
    source.write_bytes(b"".join(lines(10, 3)))
    third = dataset_path(source, cache_dir=tmp_path / "cache")
    assert entries(tmp_path / "cache") == [third]


@pytest.mark.parametrize("name", [MANIFEST, PARTITIONS, BLOCKS, segment_name(0)])
def test_a_damaged_entry_is_rebuilt(source: Path, tmp_path: Path, name: str) -> None:
    entry = dataset_path(source, cache_dir=tmp_path / "cache")
    good = (entry / name).read_bytes()
    (entry / name).write_bytes(good[:-100])
    assert dataset_path(source, cache_dir=tmp_path / "cache") == entry
    with Dataset.open(entry) as dataset:
        assert dataset.manifest.keys == 1000
        assert list(damages(dataset, lambda *_step: None)) == []
    assert entries(tmp_path / "cache") == [entry]


def test_each_policy_has_an_entry_of_its_own(source: Path, tmp_path: Path) -> None:
    line = source.read_bytes().split(b"\n")[0]
    source.write_bytes(source.read_bytes() + line + b"\n")
    assert dataset_path(source, cache_dir=tmp_path / "cache", on_duplicate="first").exists()
    with pytest.raises(SourceError, match=r"data:1001: key .* stands on line 1 too"):
        dataset_path(source, cache_dir=tmp_path / "cache")


def test_a_source_that_cannot_be_packed_leaves_no_entry(source: Path, tmp_path: Path) -> None:
    source.write_bytes(b"nonsense\n")
    with pytest.raises(MalformedLine):
        dataset_path(source, cache_dir=tmp_path / "cache")
    assert entries(tmp_path / "cache") == []


def test_a_cache_that_is_no_folder_is_refused_with_what_to_do(source: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PackingFailed, match=r"/file/cache: the cache cannot be used: .*--cache"):
        dataset_path(source, cache_dir=tmp_path / "file" / "cache")


def test_a_changed_file_that_looks_like_the_old_one_is_packed_anew(source: Path, tmp_path: Path) -> None:
    """As `cp --preserve` and tar with fixed times leave it: equal inode, size and time of modification."""
    old = dataset_path(source, cache_dir=tmp_path / "cache")
    before, content = source.stat(), bytearray(source.read_bytes())
    content[-2] ^= 1
    with source.open("r+b") as file:
        file.write(content)
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = source.stat()
    assert (before.st_ino, before.st_size, before.st_mtime_ns) == (after.st_ino, after.st_size, after.st_mtime_ns)
    new = dataset_path(source, cache_dir=tmp_path / "cache")
    assert new != old
    with Dataset.open(new) as packed:
        assert [entry.digest for entry in packed.manifest.sources] == [xxh3_128_hexdigest(content)]


def test_a_file_of_which_only_the_state_has_changed_is_not_packed_again(source: Path, tmp_path: Path) -> None:
    old = dataset_path(source, cache_dir=tmp_path / "cache")
    inode = old.stat().st_ino
    steps: list[tuple[int, int]] = []
    source.chmod(0o600)
    new = dataset_path(source, cache_dir=tmp_path / "cache", progress=lambda *step: steps.append(step))
    assert (new != old, new.stat().st_ino, steps) == (True, inode, [])
    os.utime(source)
    last = dataset_path(source, cache_dir=tmp_path / "cache", progress=lambda *step: steps.append(step))
    assert (last.stat().st_ino, steps) == (inode, [])
    assert entries(tmp_path / "cache") == [last]


def test_a_served_dataset_keeps_its_name_and_its_times_when_the_state_of_its_source_changes(
    source: Path, tmp_path: Path
) -> None:
    old = dataset_path(source, cache_dir=tmp_path / "cache")
    with Dataset.open(old):
        before = {path: path.stat().st_ctime_ns for path in (old, *old.iterdir())}
        source.chmod(0o600)
        new = dataset_path(source, cache_dir=tmp_path / "cache")
        assert new != old
        assert {path: path.stat().st_ctime_ns for path in (old, *old.iterdir())} == before


def test_a_cache_that_cannot_be_written_is_used_where_it_holds_the_dataset(source: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    made = dataset_path(source, cache_dir=cache)
    (cache / made.name.partition("-")[0]).with_suffix(".lock").unlink()
    before = sorted(cache.iterdir())
    cache.chmod(0o555)
    assert dataset_path(source, cache_dir=cache) == made
    # Root may write all the same: what counts is that nothing was.
    assert sorted(cache.iterdir()) == before
    cache.chmod(0o755)


def test_many_files_have_one_entry_that_follows_each_of_them(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "1").write_bytes(b"".join(lines(10, 1)))
    first = dataset_path(data, cache_dir=tmp_path / "cache")
    (data / "2").write_bytes(b"".join(lines(20, 2)).split(b"\n", 3)[3])
    second = dataset_path(data, cache_dir=tmp_path / "cache")
    assert entries(tmp_path / "cache") == [second]
    assert first != second
    with Dataset.open(second) as packed:
        assert packed.manifest.keys == 27


def test_a_stream_is_not_kept(tmp_path: Path) -> None:
    with fed_pipe(tmp_path / "pipe", b"".join(lines(10, 1))) as pipe:
        with pytest.raises(SourceError, match="/pipe: the cache cannot find a stream again"):
            dataset_path(pipe, cache_dir=tmp_path / "cache")
        with packed_dataset([pipe], cache_dir=tmp_path / "cache") as path, Dataset.open(path) as packed:
            assert packed.manifest.keys == 10
    assert list((tmp_path / "cache").iterdir()) == []


ASK = """
import sys
from pathlib import Path
from ringkv.dataset.cache import dataset_path

calls = []
sys.stdin.readline()
path = dataset_path(Path(sys.argv[1]), cache_dir=Path(sys.argv[2]), progress=lambda *step: calls.append(step))
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


def test_a_part_of_a_dataset_is_refused_with_what_to_do(source: Path, tmp_path: Path) -> None:
    part = dataset_path(source, cache_dir=tmp_path / "cache") / segment_name(0)
    with pytest.raises(InvalidDataset) as raised:
        dataset_path(part, cache_dir=tmp_path / "other")
    assert str(raised.value) == f"{part}: is a part of a packed dataset; name the folder that it is in"
    assert not (tmp_path / "other").exists()


def test_a_file_of_format_version_1_is_refused_with_the_command_that_repacks_it(spawn: Spawner, tmp_path: Path) -> None:
    old, keys = tmp_path / "old's.arrow", random_keys(100, 1)
    content = table(dict.fromkeys(keys, b"value")).replace_schema_metadata(None)
    with pa.ipc.new_file(str(old), content.schema, metadata={b"ringkv": b"1"}) as writer:
        writer.write_table(content)
    for command in ("up", "shard"):
        line = one_line(spawn(command, old))
        assert line.startswith(
            f"Error: {old}: has format version 1, not 2; pack its source again, or this file: ringkv "
        )
        arguments = shlex.split(line.partition(": ringkv ")[2])
    assert arguments == ["pack", str(old), "FOLDER"]
    packer = spawn(*arguments[:-1], tmp_path / "new")
    assert packer.wait() == 0, packer.err
    assert packer.out.startswith(f"{tmp_path}/new: 100 keys in 256 partitions of 1 block, dataset ")
