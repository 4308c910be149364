"""Pruning: what of a catalog can go, so that the last versions stay, and whatever somebody may still read.

Nobody writes down who has leased what. A dataset in use is told by age: routers let an old version go some minutes
after they have swapped, so what was served within MIN_AGE stays; on this machine also what a process has open.
"""

import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from ringkv.cluster.errors import NoSuchObject, StoreError
from ringkv.dataset.catalog import CURRENT, Catalog, Current, is_folder_name
from ringkv.dataset.durable import PART
from ringkv.dataset.format import MANIFEST
from ringkv.dataset.objects import Listed
from ringkv.dataset.packing.workspace import remove_stale, remove_unused

KEEP: Final = 3
MIN_AGE: Final = 3600.0
"""Seconds. A publisher writes a segment, the largest object, in less; a router lets go of an old version in less."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """A folder that is gone, its bytes, and whether it was a whole dataset or what a killed publisher had left."""

    folder: str
    bytes: int
    whole: bool


@dataclass(frozen=True, slots=True)
class _Folder:
    name: str
    objects: tuple[Listed, ...]
    touched: datetime

    @property
    def whole(self) -> bool:
        return any(listed.name == f"{self.name}/{MANIFEST}" for listed in self.objects)


def prune(catalog: Catalog, keep: int, min_age: float, *, dry_run: bool) -> list[Pruned]:
    """Remove all but the `keep` last datasets, and what killed publishers have left; or only tell what would go.

    What is served, what was served before it, and what is younger than `min_age` seconds, or was served since, stays.
    Raises CatalogError, StoreError.
    """
    current = catalog.current()
    since = datetime.fromtimestamp(time.time() - min_age, UTC)
    folders = []
    for name in filter(is_folder_name, catalog.objects.folders()):
        objects = tuple(catalog.objects.list(name))
        times = [listed.modified for listed in objects] or _made(catalog, name)
        if times:
            folders.append(_Folder(name, objects, max(times)))
    kept = _in_use(current, since)
    served = {
        version.folder: version.at for version in reversed([current.version, *current.history] if current else [])
    }
    datasets = [folder for folder in folders if folder.whole]
    datasets.sort(key=lambda folder: (folder.name in kept, served.get(folder.name, ""), folder.touched), reverse=True)
    kept |= {folder.name for folder in datasets[:keep]}
    removed = []
    for folder in folders:
        if folder.name not in kept and folder.touched < since and (dry_run or _remove(catalog, folder)):
            size = sum(listed.size for listed in folder.objects)
            removed.append(Pruned(folder.name, size, folder.whole))
    if not dry_run:
        _remove_parts(catalog, since)
    return removed


def _made(catalog: Catalog, folder: str) -> list[datetime]:
    """When an empty folder was made, or what is hidden in it: it is one on this machine, or by now there is none."""
    with suppress(FileNotFoundError):
        if catalog.objects.path is not None:
            return [datetime.fromtimestamp((catalog.objects.path / folder).stat().st_mtime, UTC)]
    return []


def _in_use(current: Current | None, since: datetime) -> set[str]:
    """The folders that are served, or were before, or were since then."""
    if current is None:
        return set()
    found = {current.version.folder}
    newer = current.version
    for version in current.history:
        if len(found) == 1 or datetime.fromisoformat(newer.at) >= since:
            found.add(version.folder)
        newer = version
    return found


def _remove(catalog: Catalog, folder: _Folder) -> bool:
    """Whether the folder is gone: not if it is published or opened just now."""
    if catalog.objects.path is not None:
        return remove_unused(catalog.objects.path / folder.name, lambda: _is_current(catalog, folder.name))
    names = [listed.name for listed in folder.objects]
    manifest = f"{folder.name}/{MANIFEST}"
    if folder.whole:
        # Without it nobody takes the folder for a dataset any more. Who did so before has published by now, or sees it.
        try:
            text = catalog.objects.read(manifest)
        except NoSuchObject:
            return False  # somebody else prunes
        catalog.objects.delete([manifest])
        if _is_current(catalog, folder.name):
            catalog.objects.create(manifest, text)
            return False
    catalog.objects.delete(name for name in names if name != manifest)
    return True


def _is_current(catalog: Catalog, folder: str) -> bool:
    current = catalog.current()
    return current is not None and current.version.folder == folder


def _remove_parts(catalog: Catalog, since: datetime) -> None:
    """Remove what killed publishers have left beside the datasets of a catalog on this machine."""
    path = catalog.objects.path
    if path is None or not path.is_dir():
        return
    try:
        remove_stale(path)
        for part in path.glob(f".{CURRENT}.*{PART}"):
            if part.stat().st_mtime < since.timestamp():
                part.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from error
