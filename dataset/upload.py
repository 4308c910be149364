"""How a dataset comes into a catalog: copied file by file, its manifest last, and read back before it is trusted."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Final

from rich.filesize import decimal

from ringkv.cluster.errors import CorruptBlock, InvalidDataset, NoSuchObject, StoreError
from ringkv.dataset.catalog import Catalog, new_folder
from ringkv.dataset.content import RANGE, READERS, Content, opened_in
from ringkv.dataset.durable import sync
from ringkv.dataset.format import BLOCKS, MANIFEST, PARTITIONS
from ringkv.dataset.local_objects import LocalObjects
from ringkv.dataset.objects import Objects
from ringkv.dataset.packing.inflight import in_order
from ringkv.dataset.packing.rights import limit
from ringkv.dataset.packing.workspace import workspace
from ringkv.dataset.progress import Progress
from ringkv.process.words import counted

Tell = Callable[[str], None]
"""Called with a line about each step."""

WORKSPACE: Final = "publish"
"""The name of the workspace of a publisher that builds a dataset in a catalog's folder."""


def find_whole(catalog: Catalog, dataset: str, preferred: str, tell: Tell, progress: Progress) -> str | None:
    """A folder of the catalog that has this dataset, every block as it was packed; None if there is none.

    `preferred` is looked at first. Raises StoreError.
    """
    folders = [name for name in catalog.objects.folders() if name.startswith(f"{dataset}.")]
    for folder in sorted(folders, key=lambda name: name != preferred):
        try:
            _verify(catalog, folder, tell, progress)
        except NoSuchObject:
            continue  # one that is being uploaded, or that nobody has finished
        except (InvalidDataset, CorruptBlock) as error:
            tell(f"damaged: {error}")
        else:
            return folder
    return None


def move(source: Content, building: Path, catalog: Catalog, tell: Tell, progress: Progress) -> str:
    """Give a dataset that was built on the catalog's own file system its name there, which is returned.

    Raises CorruptBlock if it is not as it was packed, and StoreError.
    """
    _read(source, progress)
    folder = _place(building, catalog, source.manifest.dataset_id)
    tell(f"verified: {counted(source.manifest.blocks, 'block')} in {catalog.objects.place(folder)}")
    return folder


def upload(source: Content, path: Path, catalog: Catalog, tell: Tell, progress: Progress) -> str:
    """Copy the dataset at `path`, which `source` has open, to the catalog, and return the name of its folder there.

    Raises StoreError, also if it cannot be read there as it was sent; then nothing of it stays. Raises CorruptBlock for
    a dataset that is damaged itself.
    """
    dataset = source.manifest.dataset_id
    _read(source, progress)
    if catalog.objects.path is not None:
        with building_place(catalog) as place:
            _copy(source, path, LocalObjects(place), "", progress)
            _limit(place, path)
            _compare(source, path, LocalObjects(place), "", progress)
            folder = _place(place, catalog, dataset)
        tell(f"verified: each byte in {catalog.objects.place(folder)}")
        return folder
    folder = new_folder(dataset)
    try:
        _copy(source, path, catalog.objects, f"{folder}/", progress)
        size = sum(entry.size for entry in source.manifest.segments)
        tell(f"uploaded: {decimal(size)} to {catalog.objects.place(folder)}")
        _compare(source, path, catalog.objects, f"{folder}/", progress)
        tell(f"verified: each byte in {catalog.objects.place(folder)}")
    except BaseException:
        with suppress(StoreError):
            catalog.objects.delete([listed.name for listed in catalog.objects.list(folder)])
        raise
    return folder


def _limit(copied: Path, path: Path) -> None:
    """Let nobody read the copy who may not read the dataset at `path`. Raises StoreError."""
    try:
        limit(copied, [path, *path.iterdir()])
    except OSError as error:
        raise StoreError(f"{error.filename or copied}: {error.strerror}") from error


@contextmanager
def building_place(catalog: Catalog) -> Iterator[Path]:
    """A path on the file system of a catalog, which is a folder, for a dataset to be built. Raises StoreError."""
    top = catalog.objects.path
    assert top is not None
    try:
        top.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{top}: cannot be made: {error.strerror}") from error
    with ExitStack() as stack:
        try:
            directory = stack.enter_context(workspace(top / WORKSPACE))
        except OSError as error:
            raise StoreError(f"{top}: cannot be written: {error.strerror}") from error
        yield directory / "dataset"


def _place(building: Path, catalog: Catalog, dataset: str) -> str:
    """Give a dataset that is whole its name in a catalog on the same file system. Raises StoreError."""
    folder = new_folder(dataset)
    assert catalog.objects.path is not None
    target = catalog.objects.path / folder
    try:
        building.rename(target)
        sync(target.parent)
    except OSError as error:
        raise StoreError(f"{target}: cannot be written: {error.strerror}") from error
    return folder


def check_sent(path: Path, objects: Objects, name: str, where: range) -> None:
    """Raise StoreError if these bytes of the object are not those of the file that was sent."""
    with path.open("rb") as file:
        sent = os.pread(file.fileno(), len(where), where.start)
    if objects.read_range(name, where.start, where.stop) != sent:
        raise StoreError(f"{objects.place(name)}: is not what was sent; publish again")


def _copy(source: Content, path: Path, objects: Objects, prefix: str, progress: Progress) -> None:
    manifest = source.manifest
    total = sum(entry.size for entry in manifest.segments)
    done = 0
    for name in (PARTITIONS, BLOCKS):
        objects.create(prefix + name, path / name)
    for entry in manifest.segments:
        objects.create(prefix + entry.name, path / entry.name)
        done += entry.size
        progress(done, total)
    objects.create(prefix + MANIFEST, path / MANIFEST)


def _compare(source: Content, path: Path, objects: Objects, prefix: str, progress: Progress) -> None:
    """Read all files back from where they are now. Raises StoreError if they are not what was sent."""
    sizes = {name: (path / name).stat().st_size for name in (MANIFEST, PARTITIONS, BLOCKS)}
    sizes |= {entry.name: entry.size for entry in source.manifest.segments}
    total = sum(sizes.values())
    pieces = ((name, at, min(at + RANGE, size)) for name, size in sizes.items() for at in range(0, size, RANGE))

    def compare(piece: tuple[str, int, int]) -> int:
        name, start, end = piece
        check_sent(path / name, objects, prefix + name, range(start, end))
        return end - start

    done = 0
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(READERS))
        for size in stack.enter_context(closing(in_order(lambda: pool, compare, pieces, READERS))):
            done += size
            progress(done, total)


def _verify(catalog: Catalog, folder: str, tell: Tell, progress: Progress) -> None:
    """Read each block where it is now. Raises CorruptBlock, InvalidDataset, StoreError."""
    catalog.manifest(folder)
    with opened_in(catalog.objects, folder) as content:
        _read(content, progress)
    tell(f"verified: {counted(content.manifest.blocks, 'block')} in {catalog.objects.place(folder)}")


def _read(content: Content, progress: Progress) -> None:
    blocks = content.manifest.blocks
    for block in content.blocks(range(blocks)):
        progress(block.number, blocks)
