"""A folder of this machine as `Objects`: what a store guarantees by its protocol, here a lock and a rename do."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout
from xxhash import xxh3_128_hexdigest

from ringkv.cluster.errors import Conflict, NoSuchObject, StoreError
from ringkv.dataset.durable import create_file, replace_file
from ringkv.dataset.objects import Listed, Objects

LOCK_PATIENCE: Final = 10.0
"""Seconds to wait for another process that swaps an object: it holds the lock for two writes to the disk."""


class LocalObjects(Objects):
    """A folder, made when something is written to it. Names that begin with a dot are not listed."""

    def __init__(self, path: Path) -> None:
        self.path: Path = path
        self.location = str(path)

    def read(self, name: str) -> bytes:
        with self._telling(name):
            return (self.path / name).read_bytes()

    def read_range(self, name: str, start: int, end: int) -> bytes:
        with self._telling(name), (self.path / name).open("rb") as file:
            file.seek(start)
            found = file.read(end - start)
        if len(found) != end - start:
            raise StoreError(f"{self.place(name)}: has {start + len(found):,} bytes, not {end:,}; publish it again")
        return found

    def read_with_tag(self, name: str) -> tuple[bytes, str]:
        found = self.read(name)
        return found, xxh3_128_hexdigest(found)

    def create(self, name: str, data: bytes | Path) -> None:
        with self._telling(name):
            self._make_folder(name)
            try:
                create_file(self.path / name, data)
            except FileExistsError as error:
                raise Conflict(f"{self.place(name)}: is there already; try again") from error

    def swap(self, name: str, data: bytes, tag: str | None) -> None:
        with self._telling(name):
            path = self._make_folder(name)
            with self._locked(path):
                try:
                    before = xxh3_128_hexdigest(path.read_bytes())
                except FileNotFoundError:
                    before = None
                if before != tag:
                    raise Conflict(f"{self.place(name)}: was written by somebody else meanwhile; try again")
                replace_file(path, data)

    def move(self, name: str, new: str) -> None:
        with self._telling(name):
            self._make_folder(new)
            (self.path / name).rename(self.path / new)

    def look(self, name: str) -> Listed:
        with self._telling(name):
            return _listed(name, (self.path / name).stat())

    def list(self, prefix: str = "") -> Iterator[Listed]:
        with self._telling(prefix):
            top = self.path / prefix
            for folder, folders, files in os.walk(top):
                folders[:] = sorted(name for name in folders if not name.startswith("."))
                for name in sorted(files):
                    if name.startswith("."):
                        continue
                    path = Path(folder, name)
                    with suppress(FileNotFoundError):
                        yield _listed(str(path.relative_to(self.path)), path.stat())

    def folders(self) -> Sequence[str]:
        with self._telling(""):
            try:
                found = list(os.scandir(self.path))
            except FileNotFoundError:
                return []
            return sorted(entry.name for entry in found if entry.is_dir() and not entry.name.startswith("."))

    def delete(self, names: Iterable[str]) -> None:
        for name in names:
            path = self.path / name
            with self._telling(name):
                path.unlink(missing_ok=True)
                with suppress(OSError):
                    # A folder without objects is none.
                    if path.parent != self.path:
                        path.parent.rmdir()

    def _make_folder(self, name: str) -> Path:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    @contextmanager
    def _locked(self, path: Path) -> Iterator[None]:
        lock = FileLock(path.with_name(f".{path.name}.lock"), mode=0o666)
        try:
            lock.acquire(timeout=LOCK_PATIENCE)
        except Timeout as error:
            raise StoreError(f"{path}: another process holds {lock.lock_file}; try again when it has ended") from error
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def _telling(self, name: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise NoSuchObject(f"{self.place(name)}: no such file") from error
        except NotADirectoryError as error:
            raise StoreError(f"{self.place(name)}: is not in a folder; name one") from error
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise StoreError(f"{self.place(name)}: {reason}") from error


def _listed(name: str, status: os.stat_result) -> Listed:
    return Listed(name, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC))
