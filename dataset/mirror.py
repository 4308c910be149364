"""Mirrors of datasets that lie in a store: local files of the same sizes, filled with what is fetched.

    <cache>/<name>/manifest.json, partitions.arrow, blocks.arrow    fetched whole
                   segment-00000.arrow, …                           as large as the store's, and holes at first
                   tables.json                                      what the first three were when they came

No list of what was fetched is kept: a block whose checksum is not right is fetched, be it after a restart, after a loss
of power, or because the disk has changed it. A cache belongs to one process, which alone knows what may be removed.
"""

import fcntl
import json
import os
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

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

MIRRORS: Final = "mirrors"
"""Where in a cache of datasets the mirrors are, in a folder for each shard."""

TABLES: Final = "tables.json"
LOCK: Final = ".lock"


class Mirror:
    """A cache of mirrors; `fetches` counts and limits what is fetched for all of them."""

    def __init__(self, cache: Path, size_limit: int | None = None, fetches: Fetches | None = None) -> None:
        """Take the folder, which is made if it is not there. Raises CacheError, also if another process has it."""
        self.path = cache
        self.fetches = fetches or Fetches()
        self.room = Room(cache, size_limit)
        with ExitStack() as undo:
            try:
                cache.mkdir(parents=True, exist_ok=True, mode=0o700)
                descriptor = os.open(cache / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                undo.callback(os.close, descriptor)
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise CacheError(
                    f"{cache}: another process has this cache; give each shard a name of its own"
                ) from error
            except OSError as error:
                raise self._unusable(error) from error
            self._close = undo.pop_all()

    def close(self) -> None:
        """Let others have the folder. All datasets must be closed."""
        self._close.close()

    def open(self, objects: Objects, folder: str, name: str) -> Dataset:
        """The dataset in a folder of `objects`, mirrored as `name`. Raises StoreError, InvalidDataset, CacheError."""
        path = self.path / name
        origin = Origin(objects, folder, self.fetches, self.room, path / TABLES)
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
            try:
                path.mkdir(exist_ok=True, mode=0o700)
                path.touch()  # those that were opened longest ago go first
                descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                undo.callback(os.close, descriptor)
                _make_segments(path, _tables(path, origin))
            except OSError as error:
                raise self._unusable(error) from error
            undo.pop_all()
        return descriptor

    def _unusable(self, error: OSError) -> CacheError:
        return CacheError(
            f"{self.path}: the cache cannot be used: {error.strerror}; choose another folder with --cache"
        )


def open_mirrored(objects: Objects, folder: str, name: str, mirror: Mirror | None) -> Dataset:
    """The dataset in a folder of `objects`; without a mirror its tables are kept as long as it is open, and no block.

    Raises StoreError, InvalidDataset, CacheError.
    """
    if mirror is not None:
        return mirror.open(objects, folder, name)
    with ExitStack() as undo:
        own = Mirror(Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="ringkv-"))), 0)
        undo.callback(own.close)
        dataset = own.open(objects, folder, name)
        dataset.closing(undo.pop_all().close)
    return dataset


def _tables(path: Path, origin: Origin) -> Manifest:
    """Fetch the manifest and the tables unless they are here as they came. Raises OSError, StoreError."""
    known = _digests(path)
    found = dict[str, str]()
    manifest = b""
    for name in (MANIFEST, PARTITIONS, BLOCKS):
        content = b""
        with suppress(FileNotFoundError):
            content = (path / name).read_bytes()
        if name not in known or xxh3_128_hexdigest(content) != known[name]:
            content = origin.read(name)
            replace_file(path / name, content)
        found[name] = xxh3_128_hexdigest(content)
        manifest = manifest or content
    if found != known:
        replace_file(path / TABLES, json.dumps(found).encode())
    return parse_manifest(Path(origin.location), manifest)


def _digests(path: Path) -> dict[str, str]:
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
