"""How a dataset comes into a catalog: copied file by file, its manifest last, and read back before it is trusted."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from rich.filesize import decimal

from ringkv.cluster.errors import CorruptBlock, NoSuchObject, PackedFileError, StoreError
from ringkv.dataset.catalog import Catalog, new_folder
from ringkv.dataset.content import Content, opened_in
from ringkv.dataset.durable import sync
from ringkv.dataset.format import BLOCKS, MANIFEST, PARTITIONS
from ringkv.dataset.local_objects import LocalObjects
from ringkv.dataset.objects import Objects
from ringkv.dataset.packing.workspace import workspace
from ringkv.process.words import counted

Tell = Callable[[str], None]
Progress = Callable[[int, int], None]

WORKSPACE: Final = "publish"
"""What the workspaces of publishers are named after that build in a catalog's folder."""


def find_whole(catalog: Catalog, dataset: str, preferred: str, tell: Tell, progress: Progress) -> str | None:
    """The folder of the catalog that has this dataset, each block of it as it was packed; `preferred` if it has.

    Raises StoreError.
    """
    folders = [name for name in catalog.objects.folders() if name.startswith(f"{dataset}.")]
    for folder in sorted(folders, key=lambda name: name != preferred):
        try:
            _verify(catalog, folder, tell, progress)
        except NoSuchObject:
            continue  # one that is being uploaded, or that nobody has finished
        except (PackedFileError, CorruptBlock) as error:
            tell(f"damaged: {error}")
        else:
            return folder
    return None


def move(building: Path, catalog: Catalog, dataset: str, tell: Tell, progress: Progress) -> str:
    """Give a dataset that was built on the catalog's own file system its name there, which is returned.

    Raises as `upload`.
    """
    folder = new_folder(dataset)
    assert catalog.objects.path is not None
    target = catalog.objects.path / folder
    try:
        building.rename(target)
        sync(target.parent)
    except OSError as error:
        raise StoreError(f"{target}: cannot be written: {error.strerror}") from error
    try:
        _verify(catalog, folder, tell, progress)
    except BaseException:
        target.rename(building)
        raise
    return folder


def upload(source: Content, path: Path, catalog: Catalog, tell: Tell, progress: Progress) -> str:
    """Copy the dataset at `path`, which `source` has open, to the catalog, and return the name of its folder there.

    Raises StoreError, and CorruptBlock or PackedFileError if it cannot be read there as it was packed; then nothing of
    it stays.
    """
    dataset = source.manifest.dataset_id
    if catalog.objects.path is not None:
        with building_place(catalog) as place:
            _copy(source, path, LocalObjects(place), "", progress)
            return move(place, catalog, dataset, tell, progress)
    folder = new_folder(dataset)
    try:
        _copy(source, path, catalog.objects, f"{folder}/", progress)
        size = sum(entry.size for entry in source.manifest.segments)
        tell(f"uploaded: {decimal(size)} to {catalog.objects.place(folder)}")
        _verify(catalog, folder, tell, progress)
    except BaseException:
        with suppress(StoreError):
            catalog.objects.delete([listed.name for listed in catalog.objects.list(folder)])
        raise
    return folder


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
    objects.create(prefix + MANIFEST, manifest.text().encode())


def _verify(catalog: Catalog, folder: str, tell: Tell, progress: Progress) -> None:
    """Read each block back from where it is now. Raises CorruptBlock, PackedFileError, StoreError."""
    catalog.manifest(folder)
    with opened_in(catalog.objects, folder) as content:
        blocks = content.manifest.blocks
        for block in content.blocks(range(blocks)):
            progress(block.number, blocks)
    tell(f"verified: {counted(blocks, 'block')} in {catalog.objects.place(folder)}")
