"""The catalog that `ringkv up` keeps for its own shards: links to the datasets that it has open.

    <runtime>/versions/current.json                 which of them is served
    <runtime>/versions/<dataset id>.<8 hex> ──► /proc/<pid>/fd/<n>

The links lead to open folders and not to paths: so shards that are started again read what was checked here, whatever
has the path by then.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from ringkv.cluster.errors import CatalogError, PublishRefused
from ringkv.dataset.catalog import Catalog, Current, Version, new_folder
from ringkv.dataset.dataset import Dataset
from ringkv.dataset.publisher import user

KEPT: Final = 2
"""How many versions are kept: the newest one, and the one before, which serves until routers have gone over."""


class OwnVersions:
    """`catalog` is what the shards follow."""

    def __init__(self, runtime: Path, first: Dataset) -> None:
        """From here on this object closes `first`, and all datasets that `take` is given. Raises CatalogError."""
        self._folder = runtime / "versions"
        try:
            self._folder.mkdir()
        except OSError as error:
            raise _cannot_be_made(self._folder, error) from error
        self.catalog = Catalog.at(self._folder)
        self._open: list[tuple[str, Dataset]] = []
        self._current: Current | None = None
        self._add(first)

    @property
    def location(self) -> str:
        """The path of the catalog."""
        return str(self._folder)

    @property
    def newest(self) -> Dataset:
        return self._open[-1][1]

    def take(self, dataset: Dataset, gate: float) -> Version | None:
        """Make this the next version; None if it is the newest already.

        Raises PublishRefused, CatalogError, StoreError, and then closes it.
        """
        try:
            if dataset.manifest.dataset_id == self.newest.manifest.dataset_id:
                dataset.close()
                return None
            self._compare(dataset, gate)
            return self._add(dataset)
        except BaseException:
            dataset.close()
            raise

    def close(self) -> None:
        for _, dataset in self._open:
            dataset.close()
        self._open.clear()

    def _compare(self, dataset: Dataset, gate: float) -> None:
        # Here, because the fork server, and all who are forked from it, can do without.
        from ringkv.dataset.content import opened  # noqa: PLC0415
        from ringkv.dataset.gate import gone  # noqa: PLC0415

        with opened(self._folder / self._open[-1][0]) as old, opened(dataset.path) as new:
            found = gone(old, new)
        if found.share > gate:
            raise PublishRefused(
                f"{dataset.path}: of the keys that are served {found.share:.1%} are gone, and {gate:.0%} may be;"
                " if the data is not truncated, start again with a wider --gate"
            )

    def _add(self, dataset: Dataset) -> Version:
        folder = new_folder(dataset.manifest.dataset_id)
        link = self._folder / folder
        try:
            link.symlink_to(f"/proc/{os.getpid()}/fd/{dataset.descriptor}")
        except OSError as error:
            raise _cannot_be_made(link, error) from error
        try:
            self._current = self.catalog.swap(self._current, dataset.manifest.dataset_id, folder, user(), forced=False)
        except BaseException:
            link.unlink(missing_ok=True)
            raise
        # Not before: what could not be made current is taken when somebody asks again.
        self._open.append((folder, dataset))
        while len(self._open) > KEPT:
            name, old = self._open.pop(0)
            # The next version is served already, whatever somebody has made of a link that nobody needs any more.
            with suppress(OSError):
                (self._folder / name).unlink()
            old.close()
        return self._current.version


def _cannot_be_made(path: Path, error: OSError) -> CatalogError:
    return CatalogError(f"{path}: cannot be made: {error.strerror or error}")
