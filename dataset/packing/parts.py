"""From parts, the segments that many machines have written to a catalog, to a dataset there.

They wait in a folder of their own: the dataset's folder is named after its id, which is known only when all parts are.
If the folder stays, because the publisher was killed, `prune` removes it as what that has left.
"""

import secrets
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from ringkv.cluster.errors import StoreError
from ringkv.dataset.catalog import new_folder
from ringkv.dataset.format import BLOCKS, MANIFEST, PARTITIONS, segment_name
from ringkv.dataset.manifest import Manifest, SegmentEntry, SourceEntry
from ringkv.dataset.objects import Objects
from ringkv.dataset.packing.arcs import Part
from ringkv.dataset.packing.rights import limit
from ringkv.dataset.packing.seal import seal

MOVES_AT_ONCE: Final = 16


@contextmanager
def parts_folder(objects: Objects, files: Sequence[Path]) -> Iterator[str]:
    """The name of a new folder for parts, removed at the end. Only users who may read all sources may enter it.

    `files` are the sources on this machine. Raises StoreError.
    """
    folder = new_folder(secrets.token_hex(16))
    try:
        _limited(objects, folder, files)
        yield folder
    finally:
        with suppress(StoreError):
            remove(objects, folder)


@dataclass(frozen=True, slots=True)
class Parts:
    """All parts of a dataset in order, the sources of its pairs, and those of them that are files of this machine."""

    parts: Sequence[Part]
    sources: Sequence[SourceEntry]
    files: Sequence[Path]

    @contextmanager
    def sealed(self) -> Iterator[tuple[Manifest, Path]]:
        """The dataset's manifest, and a folder of this machine with it and the tables."""
        with tempfile.TemporaryDirectory(prefix="ringkv-") as name:
            folder = Path(name)
            segments = [
                SegmentEntry(segment_name(number), part.size, part.first, part.last)
                for number, part in enumerate(self.parts)
            ]
            yield seal(folder, segments, np.concatenate([part.blocks for part in self.parts]), self.sources), folder

    def assemble(self, objects: Objects, manifest: Manifest, tables: Path) -> str:
        """Move the parts into a new folder of the catalog, and return its name. Where that fails, nothing of it stays.

        `manifest` and `tables` are as `sealed` gives them. Raises StoreError.
        """
        folder = new_folder(manifest.dataset_id)
        try:
            _limited(objects, folder, self.files)
            with ThreadPoolExecutor(MOVES_AT_ONCE) as pool:
                news = [f"{folder}/{entry.name}" for entry in manifest.segments]
                list(pool.map(objects.move, [part.name for part in self.parts], news))
            for name in (PARTITIONS, BLOCKS, MANIFEST):
                objects.create(f"{folder}/{name}", tables / name)
            _limited(objects, folder, self.files)
        except BaseException:
            with suppress(StoreError):
                remove(objects, folder)
            raise
        return folder


def remove(objects: Objects, folder: str) -> None:
    """Remove a folder that is not served, its manifest first. Raises StoreError."""
    objects.delete([f"{folder}/{MANIFEST}"])
    if objects.path is not None:
        # Also removes unfinished files of a killed process, which do not count as objects.
        shutil.rmtree(objects.path / folder, ignore_errors=True)
    else:
        objects.delete([listed.name for listed in objects.list(folder)])


def _limited(objects: Objects, folder: str, files: Sequence[Path]) -> None:
    if objects.path is None:
        return
    try:
        (objects.path / folder).mkdir(parents=True, exist_ok=True)
        limit(objects.path / folder, files)
    except OSError as error:
        raise StoreError(f"{error.filename or objects.place(folder)}: {error.strerror}") from error
