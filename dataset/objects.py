"""A folder of objects, on this machine or in an object store: what a catalog and its datasets are kept in.

    /srv/data, file:///srv/data      a folder
    s3://bucket/prefix               Amazon S3 and all that speak its protocol
    gs://bucket/prefix               Google Cloud Storage
    az://account/container/prefix    Azure Blob Storage
    http://host/path, https://…      any web server, to read from

Folders are `dataset.local_objects`, all others `dataset.store_objects`.
"""

import asyncio
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

from ringkv.cluster.errors import StoreError

PART: Final = 8 << 20
"""Bytes of an upload that are sent, and repeated, at once: 4 GiB, the largest segment, are 512 of the 10,000 parts that
S3 allows, and a few of them are held in memory at once."""

SCHEMES: Final = ("s3", "gs", "az", "https", "http", "file")

_URL: Final = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)

Range = tuple[int, int]
"""The first byte of some, and the first one behind them."""


class Listed(NamedTuple):
    """An object: its name below the folder, its size in bytes, and when it was written."""

    name: str
    size: int
    modified: datetime


def is_url(location: str | Path) -> bool:
    """Whether the location is the address of a store, and not a path."""
    return isinstance(location, str) and _URL.match(location) is not None


class Objects(ABC):
    """A folder of objects. All methods may be called from several threads at once, and raise StoreError.

    `path` is the folder itself if it is on this machine, else None.
    """

    location: str
    path: Path | None = None

    @classmethod
    def at(cls, location: str | Path) -> "Objects":
        """The folder of this address, which may be empty or missing. Raises StoreError for what is no address."""
        from ringkv.dataset.local_objects import LocalObjects  # noqa: PLC0415 - one of these, which it has to know

        if not is_url(location):
            return LocalObjects(Path(location))
        parts = urlsplit(str(location))
        if parts.query or parts.fragment or "@" in parts.netloc:
            raise StoreError(
                f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}: is not the address of a store: it has"
                " a user, `?` or `#`; give what it takes to log in by the environment"
            )
        if parts.scheme not in SCHEMES or not (parts.netloc or parts.scheme == "file"):
            known = ", ".join(f"{scheme}://" for scheme in SCHEMES)
            raise StoreError(f"{location}: is not the address of a store (want a path, or one of {known})")
        if parts.scheme == "file":
            return LocalObjects(Path(unquote(parts.path)))
        # The library behind it is large: who reads folders alone does without.
        from ringkv.dataset.store_objects import StoreObjects  # noqa: PLC0415

        return StoreObjects(str(location).rstrip("/"))

    @property
    def is_local(self) -> bool:
        return self.path is not None

    def place(self, name: str) -> str:
        """The object's address, for people."""
        return f"{self.location}/{name}" if name else self.location

    @abstractmethod
    def read(self, name: str) -> bytes:
        """The whole object. Raises NoSuchObject."""

    async def fetch(self, name: str) -> bytes:
        """As `read`; where the store allows it, no thread waits for it, and a cancellation ends it at once."""
        return await asyncio.to_thread(self.read, name)

    @abstractmethod
    def read_range(self, name: str, start: int, end: int) -> bytes:
        """The bytes from `start` up to `end`, without it: all of them, or StoreError. Raises NoSuchObject."""

    async def fetch_ranges(self, name: str, ranges: Sequence[Range]) -> list[memoryview]:
        """As `read_range` for each range, several at once; where the store allows it, no thread waits for them."""
        return [memoryview(await asyncio.to_thread(self.read_range, name, *each)) for each in ranges]

    @abstractmethod
    def read_with_tag(self, name: str) -> tuple[bytes, str]:
        """The whole object, and the tag by which `swap` knows that it is still this one. Raises NoSuchObject."""

    @abstractmethod
    def create(self, name: str, data: bytes | Path) -> None:
        """Write an object whose name is new, from memory or from a file.

        Raises Conflict if the name is taken, where the store can tell: not for what is sent in several parts.
        """

    @abstractmethod
    def swap(self, name: str, data: bytes, tag: str | None) -> None:
        """Replace the object that had this tag when it was read; None: there must be none. Raises Conflict."""

    @abstractmethod
    def move(self, name: str, new: str) -> None:
        """Give an object another name, which is new. Raises NoSuchObject."""

    @abstractmethod
    def look(self, name: str) -> Listed:
        """Size and time of this object, as `list` has them. Raises NoSuchObject."""

    @abstractmethod
    def list(self, prefix: str = "") -> Iterator[Listed]:
        """All objects in the folder, or in the folder `prefix` below it, at any depth."""

    @abstractmethod
    def folders(self) -> Sequence[str]:
        """The names of the folders right below this one, sorted."""

    @abstractmethod
    def delete(self, names: Iterable[str]) -> None:
        """Remove objects; those that are gone already are no error."""
