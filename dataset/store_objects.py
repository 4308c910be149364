"""The objects of a store, by `obstore`, which this module alone knows.

The library finds credentials by itself: in the environment, or by the machine's role.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)
from obstore.store import HTTPStore, from_url

from ringkv.cluster.errors import Conflict, NoSuchObject, StoreError
from ringkv.dataset.objects import PART, Listed, Objects, Range

if TYPE_CHECKING:
    from obstore import PutMode
    from obstore.store import ClientConfig, ObjectStore, RetryConfig

CLIENT: Final["ClientConfig"] = {"allow_http": True, "connect_timeout": "5s", "timeout": "60s"}
"""An address of `http://` is a wish for no TLS. The timeout is for a request of at most PART bytes or a few blocks."""

RETRIES: Final["RetryConfig"] = {
    "max_retries": 6,
    "retry_timeout": timedelta(seconds=30),
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=5), "base": 2},
}
"""Enough for a store that restarts; one that cannot be reached is reported after some 6 s, and not after minutes."""

PARTS: Final = 4
"""Parts of an upload that are under way, and held in memory, at once."""


class StoreObjects(Objects):
    """The objects below a prefix of a store."""

    def __init__(self, location: str) -> None:
        """Raises StoreError for an address of no known store, or if there is no way to log in."""
        self.location = location
        with self._telling(""):
            self._store: ObjectStore = from_url(location, client_options=CLIENT, retry_config=RETRIES)

    def read(self, name: str) -> bytes:
        with self._telling(name):
            return bytes(obstore.get(self._store, name).bytes())

    async def fetch(self, name: str) -> bytes:
        with self._telling(name):
            found = await obstore.get_async(self._store, name)
            return bytes(await found.bytes_async())

    def read_range(self, name: str, start: int, end: int) -> bytes:
        with self._telling(name):
            found = bytes(obstore.get_range(self._store, name, start=start, end=end))
        self._check_size(name, start, end, len(found))
        return found

    async def fetch_ranges(self, name: str, ranges: Sequence[Range]) -> list[memoryview]:
        starts, ends = [start for start, _ in ranges], [end for _, end in ranges]
        with self._telling(name):
            # Without coalescing by the library: which gaps are worth reading the caller has decided already.
            parts = await obstore.get_ranges_async(self._store, name, starts=starts, ends=ends, coalesce=0)
        found = [memoryview(part) for part in parts]
        for (start, end), part in zip(ranges, found, strict=True):
            self._check_size(name, start, end, len(part))
        return found

    def read_with_tag(self, name: str) -> tuple[bytes, str]:
        with self._telling(name):
            found = obstore.get(self._store, name)
            # A store compares either of the two.
            tag = {name: found.meta.get(name) for name in ("e_tag", "version") if found.meta.get(name)}
            return bytes(found.bytes()), json.dumps(tag)

    def create(self, name: str, data: bytes | Path) -> None:
        self._check_writable(name)
        size = len(data) if isinstance(data, bytes) else _size(data)
        with self._telling(name):
            if size > PART:
                obstore.put(self._store, name, data, use_multipart=True, chunk_size=PART, max_concurrency=PARTS)
                return
            content = data if isinstance(data, bytes) else data.read_bytes()
            self._put(name, content, None)

    def swap(self, name: str, data: bytes, tag: str | None) -> None:
        self._check_writable(name)
        with self._telling(name):
            self._put(name, data, tag)

    def move(self, name: str, new: str) -> None:
        self._check_writable(name)
        with self._telling(name):
            obstore.rename(self._store, name, new)

    def look(self, name: str) -> Listed:
        with self._telling(name):
            meta = obstore.head(self._store, name)
        return Listed(name, meta["size"], meta["last_modified"])

    def list(self, prefix: str = "") -> Iterator[Listed]:
        self._check_listable()
        with self._telling(prefix):
            for chunk in obstore.list(self._store, prefix or None, chunk_size=1000):
                yield from (Listed(meta["path"], meta["size"], meta["last_modified"]) for meta in chunk)

    def folders(self) -> Sequence[str]:
        self._check_listable()
        with self._telling(""):
            return sorted(obstore.list_with_delimiter(self._store)["common_prefixes"])

    def delete(self, names: Iterable[str]) -> None:
        for name in names:
            self._check_writable(name)
            with self._telling(name):
                try:
                    obstore.delete(self._store, name)
                except FileNotFoundError:
                    continue

    def _put(self, name: str, data: bytes, tag: str | None) -> None:
        mode: PutMode = "create" if tag is None else json.loads(tag)
        try:
            obstore.put(self._store, name, data, mode=mode, use_multipart=False)
        except (AlreadyExistsError, PreconditionError) as error:
            # A request whose answer was lost is sent again, and then finds the object that it has written itself.
            if bytes(obstore.get(self._store, name).bytes()) != data:
                raise Conflict(f"{self.place(name)}: was written by somebody else meanwhile; try again") from error

    def _check_size(self, name: str, start: int, end: int, size: int) -> None:
        if size != end - start:
            raise StoreError(f"{self.place(name)}: has {start + size:,} bytes, not {end:,}; publish it again")

    def _check_writable(self, name: str) -> None:
        if isinstance(self._store, HTTPStore):
            raise StoreError(f"{self.place(name)}: a web server is only read from; publish to where it has this from")

    def _check_listable(self) -> None:
        if isinstance(self._store, HTTPStore):
            raise StoreError(f"{self.location}: a web server does not tell what it has; name one dataset, or its store")

    @contextmanager
    def _telling(self, name: str) -> Iterator[None]:
        """Raise what the library raises as one line that says where, what and what to do."""
        try:
            yield
        except FileNotFoundError as error:
            raise NoSuchObject(f"{self.place(name)}: no such object") from error
        except (PermissionDeniedError, UnauthenticatedError) as error:
            raise StoreError(
                f"{self.place(name)}: access denied: {_said(str(error))}; check the credentials in the environment"
            ) from error
        except (BaseError, OSError, ValueError) as error:
            raise StoreError(f"{self.place(name)}: {_said(str(error))}") from error


def _size(path: Path) -> int:
    return path.stat().st_size


def _said(text: str) -> str:
    """What the store or the network said, in one line, without the library's own words around it."""
    text = re.sub(r"^Generic \w+ error: ", "", text.partition("\n\nDebug source:")[0])
    if message := re.search(r"<Message>(.*?)</Message>", text, re.DOTALL):
        text = message[1]
    elif " - " in text:
        text = (
            text.rpartition(" - ")[2].removeprefix("HTTP error: ").removeprefix("Server returned non-2xx status code: ")
        )
        text = text.replace("error sending request", "cannot be reached")
    return " ".join(text.split()).rstrip(".: ")[:200]
