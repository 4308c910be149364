"""Mirrors of datasets that lie in a store: local files of the same sizes, filled with what is fetched.

    <cache>/<name>/manifest.json, partitions.arrow, blocks.arrow    fetched whole
                   segment-00000.arrow, …                           as large as the store's, and holes at first
                   tables.json                                      what the first three were when they came

No list of what was fetched is kept: a block whose checksum is not right is fetched, be it after a restart, after a loss
of power, or because the disk has changed it. A cache belongs to one process, which alone knows what may be removed.
"""

import asyncio
import fcntl
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from xxhash import xxh3_128_hexdigest

from ringkv.cluster.errors import CacheError, InvalidDataset
from ringkv.dataset.dataset import Dataset
from ringkv.dataset.durable import replace_file
from ringkv.dataset.fetches import Fetches
from ringkv.dataset.format import BLOCKS, MANIFEST, PARTITIONS
from ringkv.dataset.manifest import Manifest, parse_manifest
from ringkv.dataset.objects import Objects
from ringkv.dataset.origin import Origin
from ringkv.dataset.room import Room
from ringkv.dataset.segment import FULL

MIRRORS: Final = "mirrors"
"""Where in a cache of datasets the mirrors are, in a folder for each shard."""

TABLES: Final = "tables.json"
LOCK: Final = ".lock"

MARGIN: Final = 64 << 10
"""Bytes that are let go beside those of a table: it is written beside the one of before, and so are its digests."""


class Mirror:
    """A cache of mirrors; `fetches` counts and limits what is fetched for all of them."""

    def __init__(self, cache: Path, size_limit: int | None = None, fetches: Fetches | None = None) -> None:
        """Take the folder, which is made if it is not there. Raises CacheError, also if another process has it."""
        self.path = cache
        self.fetches = fetches or Fetches()
        self.room = Room(cache, size_limit)
        self._lock: int | None = None
        self._take()

    def close(self) -> None:
        """Let others have the folder. All datasets must be closed."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    async def fetch(self, objects: Objects, folder: str, name: str) -> None:
        """Fetch what `open` would have to wait for; a cancellation ends it at once. Raises StoreError, CacheError."""
        origin, path, kept = self._origin(objects, folder, name), self.path / name, ExitStack()
        try:
            # In a thread: it waits for whoever is making room.
            await asyncio.to_thread(kept.enter_context, self.room.opening(path))
            with self._using():
                for table in await asyncio.to_thread(self._absent, path):
                    await asyncio.to_thread(self._put, path, table, await origin.fetch_whole(table))
        finally:
            await asyncio.to_thread(kept.close)

    def open(self, objects: Objects, folder: str, name: str) -> Dataset:
        """The dataset in a folder of `objects`, mirrored as `name`. Raises StoreError, InvalidDataset, CacheError."""
        origin, path = self._origin(objects, folder, name), self.path / name
        with self.room.opening(path):
            try:
                dataset = Dataset(path, self._filled(path, origin), origin)
            except InvalidDataset:
                origin.doubt()  # what came may be damaged, and the store whole
                raise
            self.room.add(dataset)
        return dataset

    def _filled(self, path: Path, origin: Origin) -> int:
        """The folder, opened, with all files of the origin. Raises StoreError, InvalidDataset, CacheError."""
        with ExitStack() as undo:
            with self._using():
                for table in self._absent(path):
                    self._put(path, table, origin.read(table))
                path.touch()  # those that were opened longest ago go first
                descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                undo.callback(os.close, descriptor)
                _make_segments(path, parse_manifest(Path(origin.location), (path / MANIFEST).read_bytes()))
            undo.pop_all()
        return descriptor

    def _origin(self, objects: Objects, folder: str, name: str) -> Origin:
        return Origin(objects, folder, self.fetches, self.room, self.path / name / TABLES)

    def _absent(self, path: Path) -> list[str]:
        """Which of the manifest and the tables are not in this folder, which is made, as they came. Raises OSError."""
        self._take()
        path.mkdir(exist_ok=True, mode=0o700)
        known = _digests(path)
        return [name for name in (MANIFEST, PARTITIONS, BLOCKS) if _digest(path / name) != (known.get(name) or "")]

    def _put(self, path: Path, name: str, content: bytes) -> None:
        """Keep the manifest or a table in its folder as it came, if need be in place of others. Raises OSError."""
        try:
            _write(path, name, content)
        except OSError as error:
            # What fills the disk may be versions of before, which nothing else lets go where all of this one is here.
            if error.errno not in FULL or not self.room.make(len(content) + MARGIN):
                raise
            _write(path, name, content)

    def _take(self) -> None:
        """Make the folder if it is not there, or not any more, and have it. Raises CacheError."""
        with ExitStack() as undo, self._using():
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            undo.callback(os.close, descriptor)
            if self._lock is not None and os.path.samestat(os.fstat(descriptor), os.fstat(self._lock)):
                return
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise CacheError(
                    f"{self.path}: another process has this cache; give each shard a name of its own"
                ) from error
            undo.pop_all()
            self.close()
            self._lock = descriptor

    @contextmanager
    def _using(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise CacheError(
                f"{self.path}: the cache cannot be used: {error.strerror}; choose another folder with --cache"
            ) from error


def open_mirrored(objects: Objects, folder: str, name: str, mirror: Mirror | None) -> Dataset:
    """The dataset in a folder of `objects`; without a mirror its tables are kept as long as it is open, and no block.

    Raises StoreError, InvalidDataset, CacheError.
    """
    if mirror is not None:
        return mirror.open(objects, folder, name)
    with ExitStack() as undo:
        try:
            cache = undo.enter_context(tempfile.TemporaryDirectory(prefix="ringkv-"))
        except OSError as error:
            raise CacheError(
                f"no folder can be made for the tables of {objects.place(folder)}: {error.strerror or error};"
                " say where there is room with $TMPDIR"
            ) from error
        own = Mirror(Path(cache), 0)
        undo.callback(own.close)
        dataset = own.open(objects, folder, name)
        dataset.closing(undo.pop_all().close)
    return dataset


async def go_over(dataset: Dataset, objects: Objects, folder: str) -> bool:
    """Fetch what a mirror does not have from another folder of `objects`, if its files are the same; whether they are.

    For the same data may be in segments of other sizes. Raises InvalidDataset, StoreError.
    """
    origin = dataset.origin
    assert origin is not None
    manifest = parse_manifest(Path(objects.place(folder)), await objects.fetch(f"{folder}/{MANIFEST}"))
    if (manifest.dataset_id, manifest.segments) != (dataset.manifest.dataset_id, dataset.manifest.segments):
        return False
    blocks = await objects.fetch(f"{folder}/{BLOCKS}")
    if xxh3_128_hexdigest(blocks) != await asyncio.to_thread(_digest, dataset.path / BLOCKS):
        return False
    origin.move(folder)
    return True


def _write(path: Path, name: str, content: bytes) -> None:
    replace_file(path / name, content)
    known = _digests(path) | {name: xxh3_128_hexdigest(content)}
    replace_file(path / TABLES, json.dumps(known).encode())


def _digest(path: Path) -> str | None:
    try:
        return xxh3_128_hexdigest(path.read_bytes())
    except FileNotFoundError:
        return None


def _digests(path: Path) -> dict[str, Any]:
    try:
        found = json.loads((path / TABLES).read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _make_segments(path: Path, manifest: Manifest) -> None:
    """Make the files of the segments, as holes, where they are not of the right sizes."""
    for entry in manifest.segments:
        descriptor = os.open(path / entry.name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(descriptor).st_size != entry.size:
                os.ftruncate(descriptor, entry.size)
        finally:
            os.close(descriptor)
