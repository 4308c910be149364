"""Packing when the machine does not go along: every failure is one line, and nothing is left behind."""

import errno
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from ringkv.cluster.errors import SourceError
from ringkv.dataset.dataset import Dataset
from ringkv.dataset.generate import lines
from ringkv.dataset.packing.local import pack
from ringkv.dataset.packing.memory import Budget

PACK = """
import os, sys
from pathlib import Path
from ringkv.cluster.errors import RingkvError
from ringkv.dataset.packing.local import pack
from ringkv.dataset.packing.memory import Budget

source, target, chunk_size, user = sys.argv[1:]
# Only now: who may not read the source may not be able to read the interpreter either.
os.setuid(int(user))

def progress(done, total):
    print("step", flush=True)

try:
    print(pack(Path(source), Path(target), progress=progress, budget=Budget(2, int(chunk_size))).dataset_id)
except RingkvError as error:
    print(type(error).__name__, error)
"""

NOBODY = 65_534


def command(source: Path, target: Path, chunk_size: int, user: int) -> list[str]:
    return [sys.executable, "-c", PACK, str(source), str(target), str(chunk_size), str(user)]


def pack_apart(
    source: Path,
    target: Path,
    *,
    chunk_size: int = 16 << 20,
    user: int | None = None,
    limit: tuple[int, int] | None = None,
) -> str:
    """The last line that a process of its own has to say, which packs under a resource limit."""
    user = os.getuid() if user is None else user
    restrict = (lambda: resource.setrlimit(limit[0], limit[1:] * 2)) if limit else None
    done = subprocess.run(
        command(source, target, chunk_size, user), capture_output=True, text=True, check=True, preexec_fn=restrict
    )
    assert done.stderr == ""
    return str(done.stdout.splitlines()[-1])


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every user may enter, unlike pytest's own."""
    with TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def source(folder: Path) -> Path:
    (folder / "data").write_bytes(b"".join(lines(20_000, 1)))
    return folder / "data"


def test_a_source_that_is_no_file_is_refused(folder: Path) -> None:
    with pytest.raises(SourceError, match="/none: cannot be read: No such file or directory"):
        pack(folder / "none", folder / "packed")
    with pytest.raises(SourceError, match="is a folder without data files"):
        pack(folder, folder / "packed")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "socket"))
        with pytest.raises(SourceError, match="/socket: is neither a file nor a stream"):
            pack(folder / "socket", folder / "packed")


def test_what_may_not_be_read_or_written_is_refused(folder: Path, source: Path) -> None:
    user = NOBODY if os.getuid() == 0 else os.getuid()
    said = pack_apart(source, folder / "closed" / "packed", user=user)
    assert said == f"PackingFailed {folder / 'closed' / 'packed'}: cannot be written: No such file or directory"
    (folder / "closed").mkdir(mode=0o555)
    said = pack_apart(source, folder / "closed" / "packed", user=user)
    assert said == f"PackingFailed {folder / 'closed' / 'packed'}: cannot be written: Permission denied"
    source.chmod(0)
    said = pack_apart(source, folder / "packed", user=user)
    assert said == f"SourceError {source}: cannot be read: Permission denied"


@pytest.mark.parametrize("limit", [10_000, 200_000, 1_500_000])
@pytest.mark.parametrize("chunk_size", [500_000, 16 << 20])
def test_a_file_that_may_not_grow_leaves_nothing(folder: Path, source: Path, limit: int, chunk_size: int) -> None:
    said = pack_apart(source, folder / "packed", chunk_size=chunk_size, limit=(resource.RLIMIT_FSIZE, limit))
    assert said == f"PackingFailed {folder / 'packed'}: cannot be written: {os.strerror(errno.EFBIG)}"
    assert [path.name for path in folder.iterdir()] == ["data"]


def test_a_failed_packing_leaves_the_old_dataset(folder: Path, source: Path) -> None:
    pack(source, folder / "packed")
    before = {path: (path.stat().st_ino, path.read_bytes()) for path in (folder / "packed").iterdir()}
    source.write_bytes(source.read_bytes() + b"nonsense\n")
    with pytest.raises(SourceError):
        pack(source, folder / "packed")
    assert {path: (path.stat().st_ino, path.read_bytes()) for path in (folder / "packed").iterdir()} == before


@pytest.mark.parametrize("chunk", [1 << 20, 64 << 10])
@pytest.mark.parametrize("change", ["append", "replace", "truncate"])
def test_a_source_that_changes_meanwhile_is_refused(folder: Path, source: Path, change: str, chunk: int) -> None:
    """Also where what is just being written is read, which is no line."""

    def progress(_done: int, _total: int) -> None:
        if change == "append":
            with source.open("ab") as file:
                file.write(b"x")
        elif change == "truncate":
            os.truncate(source, 1000)
        else:
            (folder / "other").write_bytes(source.read_bytes())
            (folder / "other").replace(source)

    with pytest.raises(SourceError, match="/data: changed while it was packed"):
        pack(source, folder / "packed", progress=progress, budget=Budget(2, chunk))
    assert [path.name for path in folder.iterdir()] == ["data"]


def descendants_are_gone(process: int) -> bool:
    """Whether no process is left in the session that `process` led."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == process and fields[0] != "Z":
                return False
    return True


@pytest.mark.parametrize("deadly", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_packer_leaves_nothing_after_the_next_run(folder: Path, source: Path, deadly: signal.Signals) -> None:
    with subprocess.Popen(
        command(source, folder / "packed", 100_000, os.getuid()),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as packer:
        assert packer.stdout is not None
        assert packer.stdout.readline() == b"step\n"
        packer.send_signal(deadly)
        try:
            packer.wait(60)
        finally:
            packer.kill()  # one that hangs is a failure, and no test that never ends
        packer.stdout.read()
    # All that the packer had started held the other end of the pipe that was just read to its end.
    assert descendants_are_gone(packer.pid)
    left = [path.name for path in folder.iterdir()]
    assert (left == ["data"]) == (deadly == signal.SIGINT)
    # Whatever it packs: the same may never be packed again.
    (folder / "other").write_bytes(b"".join(lines(10, 2)))
    pack(folder / "other", folder / "another")
    assert sorted(path.name for path in folder.iterdir()) == ["another", "data", "other"]


def test_a_packer_at_work_is_not_disturbed_by_another(folder: Path, source: Path) -> None:
    ids = set[str]()

    def progress(_done: int, _total: int) -> None:
        if not ids:
            ids.add("started")
            ids.add(pack(source, folder / "packed").dataset_id)

    ids.add(pack(source, folder / "packed", progress=progress, budget=Budget(2, 3 << 20)).dataset_id)
    assert len(ids) == 2
    assert sorted(path.name for path in folder.iterdir()) == ["data", "packed"]


def test_a_file_larger_than_the_address_space_can_be_packed(folder: Path) -> None:
    pairs, size, limit = 150_000, 4096, 500 << 20

    with (folder / "data").open("wb") as file:
        file.writelines(lines(pairs, 1, size))
    assert (folder / "data").stat().st_size > limit
    said = pack_apart(folder / "data", folder / "packed", limit=(resource.RLIMIT_AS, limit))
    (folder / "packed").rename(folder / "restricted")
    assert pack(folder / "data", folder / "packed").dataset_id == said
    with Dataset.open(folder / "restricted") as dataset:
        assert dataset.manifest.dataset_id == said
        assert dataset.manifest.keys == pairs
