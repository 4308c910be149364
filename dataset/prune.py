"""Pruning: what of a catalog can go, so that the last versions stay, and whatever somebody may still read.

Leases are not written down anywhere. A dataset in use is known by its age: routers let an old version go some minutes
after they have swapped, so what was served lately stays; on this machine also what a process has open.
"""

import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from ringkv.cluster.errors import NoSuchObject, StoreError
from ringkv.dataset.catalog import CURRENT, Catalog, Current, is_folder_name
from ringkv.dataset.durable import PART
from ringkv.dataset.format import MANIFEST
from ringkv.dataset.objects import Listed
from ringkv.dataset.packing.workspace import remove_stale, remove_unused


@dataclass(frozen=True, slots=True)
class Pruned:
    """A removed folder, its size in bytes, and whether it was a whole dataset or what a killed publisher had left."""

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
    since = datetime.fromtimestamp(max(0.0, time.time() - min_age), UTC)
    folders = []
    for name in filter(is_folder_name, catalog.objects.folders()):
        objects = tuple(catalog.objects.list(name))
        times = [listed.modified for listed in objects] or _made(catalog, name)
        if times:
            folders.append(_Folder(name, objects, max(times)))
    kept = _in_use(current, since)
    served = {
        version.folder: version.serial for version in reversed([current.version, *current.history] if current else [])
    }
    datasets = [folder for folder in folders if folder.whole]
    # By their serials, not by their times: these are of as many clocks as there are machines that publish.
    datasets.sort(key=lambda folder: (folder.name in kept, served.get(folder.name, 0), folder.touched), reverse=True)
    kept |= {folder.name for folder in datasets[:keep]}
    removed = []
    for folder in folders:
        if folder.name not in kept and folder.touched < since and (dry_run or _remove(catalog, folder, since)):
            size = sum(listed.size for listed in folder.objects)
            removed.append(Pruned(folder.name, size, folder.whole))
    if not dry_run:
        _remove_parts(catalog, since)
    return removed


def _made(catalog: Catalog, folder: str) -> list[datetime]:
    """When a local folder without objects, or a hidden file in it, was last changed; nothing if there is none."""
    with suppress(FileNotFoundError):
        if catalog.objects.path is not None:
            return [datetime.fromtimestamp((catalog.objects.path / folder).stat().st_mtime, UTC)]
    return []


def _in_use(current: Current | None, since: datetime) -> set[str]:
    """The folders that are served, or were before, also with another dataset, or were since then."""
    if current is None:
        return set()
    found, datasets = {current.version.folder}, {current.version.dataset}
    newer = current.version
    for version in current.history:
        # A dataset that was damaged and published again is in two folders, and none to go back to.
        if len(datasets) == 1 or datetime.fromisoformat(newer.at) >= since:
            found.add(version.folder)
            datasets.add(version.dataset)
        newer = version
    return found


def _remove(catalog: Catalog, folder: _Folder, since: datetime) -> bool:
    """Remove the folder, unless it is being finished, published or opened just now; whether it is gone."""

    def is_used() -> bool:
        # It may have been served since it was listed, which takes a while, and be no more: routers still read it then.
        return folder.name in _in_use(catalog.current(), since)

    if catalog.objects.path is not None:
        path = catalog.objects.path / folder.name
        return remove_unused(path, lambda: (path / MANIFEST).is_file() != folder.whole or is_used())
    names = [listed.name for listed in folder.objects]
    manifest = f"{folder.name}/{MANIFEST}"
    text: bytes | None = None
    with suppress(NoSuchObject):
        text = catalog.objects.read(manifest)
    if (text is not None) != folder.whole:
        return False  # somebody else prunes, or has finished it
    if text is not None:
        # Without its manifest the folder is no dataset any more. A publisher that took it for one has published it by
        # now, or will notice.
        catalog.objects.delete([manifest])
        if is_used():
            catalog.objects.create(manifest, text)
            return False
    catalog.objects.delete(name for name in names if name != manifest)
    return True


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
