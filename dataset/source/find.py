"""From the paths that a user names to the sources that are meant. The kind of a source is told by its content.

-               standard input              a folder   all files in it, in the order of their names
a pipe, a fd    read once                   a pattern  all files that match, in the order of their names
                                            a dataset  a folder with a manifest: its segments
"""

import glob
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Final

from ringkv.cluster.errors import SourceError
from ringkv.dataset.format import MANIFEST
from ringkv.dataset.manifest import read_manifest
from ringkv.dataset.source.file import Identity, RegularFile, unreadable
from ringkv.dataset.source.lines import TextFile
from ringkv.dataset.source.protocol import Source
from ringkv.dataset.source.stream import COMPRESSIONS, MAGIC_SIZE, TABLES, TextStream, kind
from ringkv.dataset.source.table import Table

STDIN: Final = Path("-")
STDIN_NAME: Final = "stdin"


def find(paths: Sequence[Path]) -> list[Source]:
    """The sources that `paths` name, in order.

    Raises SourceError for a path that does not exist or is no source, and InvalidDataset for a damaged dataset.
    """
    return [source for path in paths for source in _found(path)]


def _found(path: Path) -> Iterator[Source]:
    if path == STDIN:
        yield _stdin()
    elif glob.has_magic(str(path)) and not os.path.lexists(path):
        matches = [Path(match) for match in sorted(glob.glob(str(path), recursive=True))]  # noqa: PTH207 - absolute too
        files = [match for match in matches if not stat.S_ISDIR(_status(match).st_mode)]
        if not files:
            raise SourceError(f"{path}: no file matches this pattern")
        yield from map(_one, files)
    elif is_dataset(path):
        yield from map(_one, _segments(path))
    elif stat.S_ISDIR(_status(path).st_mode):
        files = sorted(_inside(path))
        if not files:
            raise SourceError(f"{path}: is a folder without data files")
        yield from map(_one, files)
    else:
        yield _one(path)


def is_dataset(path: Path) -> bool:
    """Whether the path is that of a packed dataset, whole or not."""
    with suppress(OSError):
        return (path / MANIFEST).is_file()
    return False


def _segments(dataset: Path) -> list[Path]:
    """The segments' files. Raises InvalidDataset if the dataset's manifest cannot be read."""
    try:
        folder = os.open(dataset, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise unreadable(str(dataset), error) from error
    try:
        return [dataset / segment.name for segment in read_manifest(dataset, folder).segments]
    finally:
        os.close(folder)


def _inside(folder: Path) -> Iterator[Path]:
    """All files below the folder but those whose names begin with `.` or `_`: hidden ones, and marks like _SUCCESS."""

    def refuse(error: OSError) -> None:
        raise unreadable(error.filename, error) from error

    for where, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith((".", "_"))]
        for path in (Path(where, name) for name in folders):
            if path.is_symlink() and path.resolve() in map(Path.resolve, path.absolute().parents):
                raise SourceError(f"{path}: leads back to a folder that it is in; remove the link")
        yield from (Path(where, name) for name in files if not name.startswith((".", "_")))


def _status(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except OSError as error:
        raise unreadable(str(path), error) from error


def _stdin() -> Source:
    try:
        status = os.fstat(0)
        # If something has read the beginning already, the rest is meant: a stream.
        untouched = stat.S_ISREG(status.st_mode) and os.lseek(0, 0, os.SEEK_CUR) == 0
    except OSError as error:
        raise unreadable(STDIN_NAME, error) from error
    file = _regular(Path("/proc/self/fd/0"), STDIN_NAME, status) if untouched else None
    return _of_file(file) if file else TextStream(STDIN_NAME, _opened(STDIN_NAME, lambda: os.dup(0)), None)


def _one(path: Path) -> Source:
    status = _status(path)
    if stat.S_ISREG(status.st_mode):
        file = _regular(path, str(path), status)
        if file:
            return _of_file(file)
    elif not (stat.S_ISFIFO(status.st_mode) or stat.S_ISCHR(status.st_mode)):
        raise SourceError(f"{path}: is neither a file nor a stream; give the path of a data file")
    return TextStream(str(path), _opened(str(path), lambda: os.open(path, os.O_RDONLY | os.O_CLOEXEC)), None)


def _regular(path: Path, name: str, status: os.stat_result) -> RegularFile | None:
    """The file, by the path that it has for every process; None if it has no such path, as when it was deleted."""
    real = Path(os.path.realpath(path))
    try:
        same = os.path.samestat(real.stat(), status)
    except OSError:
        return None
    return RegularFile(real, name, Identity.of(status)) if same else None


def _of_file(file: RegularFile) -> Source:
    head = file.begins_with(MAGIC_SIZE)
    table = kind(head, TABLES)
    if table:
        return Table(file, table)
    return TextStream(file.name, file.open, file) if kind(head, COMPRESSIONS) else TextFile(file)


def _opened(name: str, opened: Callable[[], int]) -> Callable[[], AbstractContextManager[int]]:
    """What opens a stream. Opening a named pipe waits for its other end."""

    @contextmanager
    def opening() -> Iterator[int]:
        try:
            descriptor = opened()
        except OSError as error:
            raise unreadable(name, error) from error
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    return opening
