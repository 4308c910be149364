"""What a cache of datasets holds, and what of it can go."""

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout

from ringkv.cluster.errors import InvalidDataset, SourceError
from ringkv.dataset.cache import entry_state
from ringkv.dataset.mirror import MIRRORS
from ringkv.dataset.packing.workspace import is_used, remove_stale, remove_unused
from ringkv.dataset.source.find import find


class Entry(NamedTuple):
    """A dataset: its size in bytes, when it was made as Unix time, what it was made from, and its use.

    `sources` is empty where that is not known. It is `current` as long as the sources are in the state in which they
    were packed: then `ringkv up` finds it. It is `used` while a process has it open.
    """

    path: Path
    size: int
    made: float
    sources: list[str]
    current: bool
    used: bool


def entries(folder: Path) -> Iterator[Entry]:
    """All datasets of the cache, the youngest first. Raises OSError if the folder cannot be read."""
    found = []
    for path in _datasets(folder):
        with suppress(FileNotFoundError):  # removed by another process, here and below
            found.append((path.stat().st_mtime, path))
    for made, path in sorted(found, reverse=True):
        sources = _sources(path)
        try:
            size = sum(file.stat().st_size for file in path.iterdir())
        except FileNotFoundError:
            continue
        yield Entry(path, size, made, sources, _is_current(path, sources), is_used(path))


def prune(folder: Path, *, everything: bool) -> Iterator[Entry]:
    """Remove datasets that no process has open: those that are not current any more, or `everything`.

    Yields what was removed. Raises OSError if the folder cannot be read.
    """
    remove_stale(folder)
    for entry in entries(folder):
        if (everything or not entry.current) and remove_unused(entry.path):
            yield entry
    _remove_names(folder)


def _datasets(folder: Path) -> list[Path]:
    return [
        path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".") and path.name != MIRRORS
    ]


def _sources(path: Path) -> list[str]:
    with suppress(OSError, ValueError):
        found = json.loads(_named(path, ".json").read_text())
        return [str(source) for source in found]
    return []


def _is_current(path: Path, sources: list[str]) -> bool:
    try:
        files = [source.file for source in find([Path(source) for source in sources]) if source.file]
    except (SourceError, InvalidDataset):
        return False
    return bool(sources) and path.name.endswith(f"-{entry_state(files)}")


def _remove_names(folder: Path) -> None:
    """Remove the lists of sources and the locks of datasets that are gone."""
    kept = {_named(path, "").name for path in _datasets(folder)}
    for lock in folder.glob("*.lock"):
        if lock.stem not in kept:
            # Whoever packs holds it.
            with suppress(OSError, Timeout), FileLock(lock, timeout=0):
                lock.with_suffix(".json").unlink(missing_ok=True)
                lock.unlink()


def _named(path: Path, suffix: str) -> Path:
    return path.with_name(path.name.partition("-")[0] + suffix)
