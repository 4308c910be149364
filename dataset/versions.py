"""The versions of a catalog: which datasets it has, when each was served, and the way back to an earlier one."""

from dataclasses import dataclass
from itertools import chain

from ringkv.cluster.errors import CatalogError
from ringkv.dataset.catalog import Catalog, Current, Version
from ringkv.dataset.content import opened_in


@dataclass(frozen=True, slots=True)
class Listed:
    """A dataset of a catalog. The last four fields are about the last time that it was served, None if it never was.

    `until` is None while it is being served. `bytes` is the size of all segments together.
    """

    dataset: str
    folder: str
    keys: int
    bytes: int
    packed: str
    serial: int | None
    since: str | None
    until: str | None
    by: str | None


def listed(catalog: Catalog) -> list[Listed]:
    """All datasets that the catalog has, the one served first, then as they were served or packed, the newest first.

    Raises CatalogError, StoreError.
    """
    times = _times(catalog.current())
    found = []
    for folder, manifest in catalog.datasets():
        version, until = times.get(folder, (None, None))
        size = sum(entry.size for entry in manifest.segments)
        served = (version.serial, version.at, until, version.by) if version else (None, None, None, None)
        found.append(Listed(manifest.dataset_id, folder, manifest.keys, size, manifest.packed, *served))
    return sorted(found, key=lambda entry: (entry.serial or 0, entry.packed), reverse=True)


def rollback(catalog: Catalog, wanted: str | None, by: str) -> tuple[Version, bool]:
    """Let the dataset be served that was served before, or the one whose id begins with `wanted`.

    Returns the version, and whether that has changed anything. Routers serve it whatever keys it lacks.
    Raises CatalogError, VersionConflict, InvalidDataset, StoreError.
    """
    current = catalog.current()
    if current is None:
        raise CatalogError(f"{catalog.location}: nothing was published yet; publish something first")
    folder = named(catalog, wanted) if wanted else _before(catalog, current)
    if folder == current.version.folder:
        return current.version, False
    with opened_in(catalog.objects, folder):
        pass  # it is whole, as far as that is known without reading all of it
    return catalog.serve(current, folder, by, forced=True).version, True


def named(catalog: Catalog, wanted: str) -> str:
    """The folder of the one dataset whose id or folder begins with `wanted`; of several with one id the last served.

    Raises CatalogError, StoreError.
    """
    found = [entry for entry in listed(catalog) if entry.folder.startswith(wanted.lower())]
    ids = sorted({entry.dataset for entry in found})
    if not ids:
        raise CatalogError(f"{catalog.location}: has no whole dataset {wanted!a}; see `ringkv versions`")
    if len(ids) > 1:
        raise CatalogError(f"{catalog.location}: {wanted} may be {ids[0]} or {ids[1]}; give more of it")
    return found[0].folder


def _times(current: Current | None) -> dict[str, tuple[Version, str | None]]:
    """The last time that each folder was served: the version, and until when."""
    versions = [current.version, *current.history] if current else []
    ends = chain([None], (version.at for version in versions))
    found: dict[str, tuple[Version, str | None]] = {}
    for version, until in zip(versions, ends, strict=False):
        found.setdefault(version.folder, (version, until))
    return found


def _before(catalog: Catalog, current: Current) -> str:
    for version in current.history:
        if version.dataset != current.version.dataset:
            return version.folder
    raise CatalogError(f"{catalog.location}: no other dataset was served before; name one of `ringkv versions`")
