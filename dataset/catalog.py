"""A catalog: a folder or a bucket's prefix of datasets, and which of them is served.

    <catalog>/current.json              which version is served: the only thing that changes
    <catalog>/<dataset id>.<8 hex>/     a dataset, complete when its manifest.json is; a name is never used twice

current.json is replaced by compare-and-swap, so of two who publish at once one wins and the other learns of it.
"""

import json
import re
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple

from ringkv.cluster import told
from ringkv.cluster.errors import CatalogError, Conflict, InvalidDataset, NoSuchObject, VersionConflict
from ringkv.cluster.lease import MAX_BY, MAX_SERIAL
from ringkv.dataset.dataset import Dataset
from ringkv.dataset.format import MANIFEST
from ringkv.dataset.manifest import Manifest, parse_manifest
from ringkv.dataset.mirror import Mirror, open_mirrored
from ringkv.dataset.objects import Objects, is_url

CURRENT: Final = "current.json"
FORMAT: Final = 1

MAX_HISTORY: Final = 20
"""Versions before the current one that current.json remembers: enough to see what was served lately, and few enough
for everybody who follows a catalog to read it every second."""

MAX_CURRENT_BYTES: Final = 256 << 10
MANIFESTS_AT_ONCE: Final = 16

_FOLDER: Final = re.compile(r"([0-9a-f]{32})\.[0-9a-f]{8}")
_TIME: Final = re.compile(r"[0-9T:+-]{25}")


@dataclass(frozen=True, slots=True)
class Version:
    """What was published, when and by whom. `serial` grows with each change; `at` is ISO 8601 in UTC.

    `forced`: routers are to serve it even if they find many keys gone.
    """

    serial: int
    dataset: str
    folder: str
    by: str
    at: str
    forced: bool


@dataclass(frozen=True, slots=True)
class Current:
    """What current.json says: the version that is served, and those before it, the newest first."""

    version: Version
    history: tuple[Version, ...]

    def text(self) -> str:
        """As current.json has it."""
        said = {"ringkv": FORMAT, **asdict(self.version), "history": [asdict(version) for version in self.history]}
        return json.dumps(said, indent=1) + "\n"


class Held(NamedTuple):
    """A dataset of the catalog: its folder there, and its manifest."""

    folder: str
    manifest: Manifest


class Catalog:
    def __init__(self, objects: Objects) -> None:
        self.objects = objects
        self.location = objects.location

    @classmethod
    def at(cls, location: str | Path) -> "Catalog":
        """The catalog at this path or address, where nothing may have been published yet. Raises StoreError."""
        return cls(Objects.at(location))

    def current(self) -> Current | None:
        """What is served; None as long as nothing was published. Raises CatalogError, StoreError."""
        return self._current()[0]

    async def look(self) -> Current | None:
        """As `current`, but a cancellation does not wait for the store."""
        try:
            text = await self.objects.fetch(CURRENT)
        except NoSuchObject:
            return None
        return parse_current(self.objects.place(CURRENT), text)

    def check_current(self, expected: Current | None) -> str | None:
        """The tag of what says so. Raises VersionConflict if another version is served, CatalogError, StoreError."""
        found, tag = self._current()
        if found != expected:
            raise self._conflict(found)
        return tag

    def swap(self, expected: Current | None, dataset: str, folder: str, by: str, forced: bool) -> Current:  # noqa: FBT001 - a field
        """Let the dataset in `folder` be served in place of `expected`, which must still be current.

        Raises VersionConflict, CatalogError, StoreError.
        """
        at = datetime.now(UTC).isoformat(timespec="seconds")
        before = (expected.version, *expected.history) if expected else ()
        serial = before[0].serial + 1 if before else 1
        new = Current(Version(serial, dataset, folder, by, at, forced), before[:MAX_HISTORY])
        self._replace(expected, new)
        return new

    def serve(self, expected: Current | None, folder: str, by: str, forced: bool) -> Current:  # noqa: FBT001 - a field
        """As `swap`, of the dataset in this folder. Raises CatalogError also if that was pruned meanwhile.

        Raises InvalidDataset and NoSuchObject too.
        """
        path = self.objects.path
        with Dataset.open(path / folder) if path else nullcontext():
            dataset = self.manifest(folder).dataset_id
            new = self.swap(expected, dataset, folder, by, forced)
            try:
                self.manifest(folder)
            except NoSuchObject as error:
                # Pruning removes the manifest first, and then looks at what is served: so one of the two notices.
                if expected:
                    # Whoever starts now finds what was served, with a serial that all take for a later one.
                    serial = new.version.serial + 1
                    self._replace(new, Current(replace(expected.version, serial=serial), expected.history))
                raise CatalogError(
                    f"{self.location}: dataset {dataset} was pruned meanwhile; publish it again"
                ) from error
        return new

    def datasets(self) -> list[Held]:
        """All datasets that are whole, as far as their manifests tell. Raises StoreError."""
        folders = [name for name in self.objects.folders() if is_folder_name(name)]
        with ThreadPoolExecutor(MANIFESTS_AT_ONCE) as pool:
            return [held for held in pool.map(self._held, folders) if held]

    def manifest(self, folder: str) -> Manifest:
        """That of the dataset in this folder. Raises InvalidDataset, NoSuchObject, StoreError."""
        text = self.objects.read(f"{folder}/{MANIFEST}")
        manifest = parse_manifest(Path(self.objects.place(folder)), text)
        if manifest.dataset_id != folder.partition(".")[0]:
            raise InvalidDataset(
                f"{self.objects.place(folder)}: holds dataset {manifest.dataset_id}, not what its name says; remove it"
            )
        return manifest

    def open(self, folder: str, mirror: Mirror | None = None) -> Dataset:
        """The dataset in this folder, opened: where it lies if it is on this machine, else by way of a mirror.

        Raises InvalidDataset, StoreError, CacheError.
        """
        if self.objects.path is not None:
            return Dataset.open(self.objects.path / folder)
        return open_mirrored(self.objects, folder, folder, mirror)

    async def fetch(self, folder: str, mirror: Mirror) -> None:
        """Fetch what `open` would have to wait for; a cancellation does not wait for the store.

        Raises StoreError, CacheError.
        """
        if self.objects.path is None:
            await mirror.fetch(self.objects, folder, folder)

    def _held(self, folder: str) -> Held | None:
        try:
            return Held(folder, self.manifest(folder))
        except (NoSuchObject, InvalidDataset):
            return None

    def _current(self) -> tuple[Current | None, str | None]:
        """What is served, and the tag of the object that says so."""
        try:
            text, tag = self.objects.read_with_tag(CURRENT)
        except NoSuchObject:
            return None, None
        return parse_current(self.objects.place(CURRENT), text), tag

    def _replace(self, expected: Current | None, new: Current) -> None:
        """Write current.json, which must say what is expected. Raises VersionConflict, CatalogError, StoreError."""
        tag = self.check_current(expected)
        try:
            self.objects.swap(CURRENT, new.text().encode(), tag)
        except Conflict as error:
            raise self._conflict(self.current()) from error

    def _conflict(self, found: Current | None) -> VersionConflict:
        what = "nothing is served any more"
        if found:
            version = found.version
            what = f"{version.by} has published dataset {version.dataset} as version {version.serial}"
        return VersionConflict(f"{self.location}: {what} meanwhile; look at it, and publish again")


def new_folder(dataset: str) -> str:
    """A new name for a folder of this dataset, which no other folder has."""
    return f"{dataset}.{secrets.token_hex(4)}"


def is_folder_name(name: str) -> bool:
    """Whether a folder of this name is that of a dataset, whole or not."""
    return _FOLDER.fullmatch(name) is not None


def is_catalog(location: str | Path) -> bool:
    """Whether the location is that of a catalog: any store, or a folder in which something was published."""
    if is_url(location):
        return True
    with suppress(OSError):  # whoever opens what is there, or is not, tells why
        return Path(location, CURRENT).is_file()
    return False


def parse_current(place: str, text: bytes) -> Current:
    """The opposite of `Current.text`; `place` names current.json in messages. Raises CatalogError."""
    try:
        return _parsed(text)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CatalogError(f"{place}: is not what `ringkv publish` writes; remove it, and publish again") from error


def _parsed(text: bytes) -> Current:
    """Raises ValueError, KeyError, TypeError, AttributeError or RecursionError for what no publisher has written."""
    if len(text) > MAX_CURRENT_BYTES:
        raise ValueError("too large")
    said = json.loads(text)
    if said.pop("ringkv") != FORMAT:
        raise ValueError("another format")
    version, *history = _versions([said, *said.pop("history")])
    return Current(version, tuple(history))


def _versions(said: list[dict[str, Any]]) -> Iterator[Version]:
    """The versions, checked. Raises ValueError, TypeError, AttributeError for what no publisher has written."""
    found = [Version(**entry) for entry in said]
    for version in found:
        if type(version.serial) is not int or not 0 < version.serial <= MAX_SERIAL or type(version.forced) is not bool:
            raise ValueError("not a serial, or not a truth value")
        if not told.is_id(version.dataset) or not _FOLDER.fullmatch(version.folder):
            raise ValueError("not a dataset, or not its folder")
        if not version.folder.startswith(version.dataset):
            raise ValueError("the folder of another dataset")
        if not (version.by.isprintable() and len(version.by) <= MAX_BY):
            raise ValueError("not a name")
        if not _TIME.fullmatch(version.at) or datetime.fromisoformat(version.at).tzinfo is None:
            raise ValueError("not a time")
    if len(found) > MAX_HISTORY + 1 or any(new.serial <= old.serial for new, old in pairwise(found)):
        raise ValueError("not a history")
    return iter(found)
