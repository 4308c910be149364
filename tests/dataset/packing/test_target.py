"""What `ringkv pack` may replace: nothing, an empty folder, a dataset that nobody serves, through symlinks too."""

import os
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

import ringkv.dataset.packing.target
from ringkv.cluster.errors import PackingFailed
from ringkv.dataset.dataset import Dataset
from ringkv.dataset.generate import lines
from ringkv.dataset.packing.local import pack
from tests.support.data import EXAMPLE
from tests.support.processes import Spawner, one_line, short_directory


def make_device(path: Path) -> None:
    """Another /dev/null: the machine's own is not put at risk."""
    os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))


def make_socket(path: Path) -> None:
    with closing(socket.socket(socket.AF_UNIX)) as listening:
        listening.bind(str(path))


def make_folder(path: Path) -> None:
    path.mkdir()
    (path / "photo").write_bytes(b"of a cat")


def make_other_manifest(path: Path) -> None:
    path.mkdir()
    (path / "manifest.json").write_text("{}")


def make_dataset_with_notes(path: Path) -> None:
    pack(EXAMPLE, path)
    (path / "notes").write_bytes(b"of somebody")


def make_file(path: Path) -> None:
    path.write_bytes(b"old")


MADE: list[Callable[[Path], None]] = [
    os.mkfifo,
    make_socket,
    make_file,
    make_folder,
    make_other_manifest,
    make_dataset_with_notes,
]
if os.geteuid() == 0:
    MADE.append(make_device)


def states(folder: Path) -> dict[Path, tuple[int, int, int, int]]:
    """What is in the folder and below, with inode, mode, device and size."""
    found = {path: path.lstat() for path in (folder, *folder.rglob("*"))}
    return {path: (at.st_ino, at.st_mode, at.st_rdev, at.st_size) for path, at in found.items()}


@pytest.mark.parametrize("through_a_link", [False, True])
@pytest.mark.parametrize("make", MADE)
def test_what_is_no_dataset_is_left_alone(make: Callable[[Path], None], *, through_a_link: bool) -> None:
    with short_directory() as folder:
        make(folder / "out")
        target = folder / "out"
        if through_a_link:
            target = folder / "link"
            target.symlink_to("out")
        before = states(folder)
        with pytest.raises(PackingFailed, match=f"^{target}: .*, and stays as it is; name a folder to be made"):
            pack(EXAMPLE, target)
        assert states(folder) == before


def test_the_command_refuses_dev_null_in_one_line(spawn: Spawner) -> None:
    line = one_line(spawn("pack", EXAMPLE, "/dev/null"))
    assert line.startswith("Error: /dev/null: is no folder, and stays as it is")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_the_last_of_several_data_files_is_not_overwritten(spawn: Spawner, tmp_path: Path) -> None:
    """As the shell hands over `ringkv pack part-*.data`."""
    parts = [tmp_path / f"part-{number}.data" for number in range(3)]
    for number, part in enumerate(parts):
        part.write_bytes(b"".join(lines(10, number)))
    before = states(tmp_path)
    assert one_line(spawn("pack", *parts)).startswith(f"Error: {parts[-1]}: is no folder, and stays as it is")
    assert states(tmp_path) == before


@pytest.mark.parametrize("there", ["nothing", "an empty folder", "a dataset"])
def test_a_symlink_stays_and_leads_to_what_was_packed(tmp_path: Path, there: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    real, link = tmp_path / "elsewhere" / "real", tmp_path / "link"
    if there == "an empty folder":
        real.mkdir()
    elif there == "a dataset":
        (tmp_path / "data").write_bytes(b"".join(lines(10, 1)))
        pack(tmp_path / "data", real)
    link.symlink_to(Path("elsewhere", "real"))
    pack(EXAMPLE, link)
    assert link.readlink() == Path("elsewhere", "real")
    with Dataset.open(real) as dataset:
        assert dataset.manifest.keys == 10_000
    assert [path.name for path in real.parent.iterdir()] == ["real"]


def test_a_link_to_itself_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(PackingFailed, match="/loop: cannot be written: Too many levels of symbolic links"):
        pack(EXAMPLE, tmp_path / "loop")


def test_a_dataset_that_is_served_stays(tmp_path: Path, spawn: Spawner) -> None:
    first = pack(EXAMPLE, tmp_path / "out")
    (tmp_path / "data").write_bytes(b"".join(lines(10, 1)))
    with Dataset.open(tmp_path / "out"):
        before = states(tmp_path)
        refused = f"Error: {tmp_path}/out: is being served; pack into another folder"
        assert one_line(spawn("pack", tmp_path / "data", tmp_path / "out")) == refused
        assert states(tmp_path) == before
    second = pack(tmp_path / "data", tmp_path / "out")
    assert first.dataset_id != second.dataset_id


def test_a_dataset_that_is_opened_while_its_successor_is_packed_stays(tmp_path: Path) -> None:
    pack(EXAMPLE, tmp_path / "out")
    (tmp_path / "data").write_bytes(b"".join(lines(10, 1)))
    opened: list[Dataset] = []

    def progress(_done: int, _total: int) -> None:
        if not opened:
            opened.append(Dataset.open(tmp_path / "out"))

    with pytest.raises(PackingFailed, match="/out: is being served; pack into another folder"):
        pack(tmp_path / "data", tmp_path / "out", progress=progress)
    assert opened[0].manifest.keys == 10_000
    opened[0].close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "out"]


def test_what_somebody_else_put_there_meanwhile_stays(tmp_path: Path) -> None:
    def progress(_done: int, _total: int) -> None:
        (tmp_path / "out").mkdir(exist_ok=True)
        (tmp_path / "out" / "photo").write_bytes(b"of a cat")

    with pytest.raises(PackingFailed, match="/out: is a folder of something else than a packed dataset"):
        pack(EXAMPLE, tmp_path / "out", progress=progress)
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "photo"]


def test_of_two_who_pack_into_one_new_name_at_once_the_later_one_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").write_bytes(b"".join(lines(10, 1)))
    look, found = ringkv.dataset.packing.target._unserved, list[bool]()  # noqa: SLF001 - the moment behind it is meant

    @contextmanager
    def overtaken(target: Path, real: Path) -> Iterator[bool]:
        with look(target, real) as replaced:
            found.append(replaced)
            if len(found) == 2:  # what is there is known, and the name is about to be taken
                pack(tmp_path / "data", tmp_path / "out")
            yield replaced

    monkeypatch.setattr(ringkv.dataset.packing.target, "_unserved", overtaken)
    pack(EXAMPLE, tmp_path / "out")
    assert found == [False, False, False, False, True]
    with Dataset.open(tmp_path / "out") as dataset:
        assert dataset.manifest.keys == 10_000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "out"]


def test_at_every_moment_of_a_replacement_the_name_leads_to_a_whole_dataset(tmp_path: Path) -> None:
    sizes = []
    for number in range(2):
        (tmp_path / f"{number}.data").write_bytes(b"".join(lines(10 + number, 1)))
    pack(tmp_path / "0.data", tmp_path / "out")
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            sizes.append(len((tmp_path / "out" / "manifest.json").read_bytes()))

    looker = threading.Thread(target=look)
    looker.start()
    try:
        for number in range(20):
            pack(tmp_path / f"{number % 2}.data", tmp_path / "out")
    finally:
        done.set()
        looker.join()
    assert len(sizes) > 100
    assert min(sizes) > 300
