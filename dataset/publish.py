"""Publishing: from data to the version that is served.

    pack ──► compare with what is served ──► upload ──► verify what was uploaded ──► swap current.json

Killed at any point, it leaves what is served as it is: until the last step nothing leads to what it wrote. What it left
behind `prune` removes, and a dataset that is whole already the next publisher finds.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ringkv.cluster.errors import CorruptBlock, InvalidDataset, NoSuchObject, PublishRefused
from ringkv.cluster.limits import GATE
from ringkv.dataset.cache import packed_dataset
from ringkv.dataset.catalog import Catalog, Current, Version
from ringkv.dataset.content import Content, opened, opened_in
from ringkv.dataset.gate import gone
from ringkv.dataset.packing.local import pack
from ringkv.dataset.packing.memory import Budget
from ringkv.dataset.packing.merge import DuplicatePolicy
from ringkv.dataset.packing.parts import Parts, remove
from ringkv.dataset.progress import Progress
from ringkv.dataset.source.find import find, is_dataset
from ringkv.dataset.upload import Tell, building_place, find_whole, move, upload
from ringkv.process.words import counted

log = logging.getLogger("ringkv.dataset")


@dataclass(frozen=True, slots=True)
class Order:
    """How to publish, and who does it. `force` opens the gate here, `force_swap` that of the routers too."""

    by: str
    on_duplicate: DuplicatePolicy = "error"
    budget: Budget | None = None
    cache: Path | None = None
    gate: float = GATE
    force: bool = False
    force_swap: bool = False


@dataclass(frozen=True, slots=True)
class Published:
    """What is served now. `changed` is False if it was served before, `uploaded` if the catalog had it already.

    `gone` is the share of the keys served before that the new dataset does not have, None where nothing was compared.
    """

    version: Version
    keys: int
    changed: bool
    uploaded: bool
    gone: float | None


class Packed(NamedTuple):
    """A dataset on this machine; `building` if it may be moved into the catalog."""

    path: Path
    building: bool


def publish(data: Sequence[Path], catalog: Catalog, order: Order, tell: Tell, progress: Progress) -> Published:
    """Let `data` be served from this catalog.

    Raises as `pack` does, and PublishRefused, VersionConflict, CatalogError, StoreError, InvalidDataset, CorruptBlock.
    """
    before = catalog.current()
    served = before.version if before else None
    with ExitStack() as stack:
        packed = stack.enter_context(_packed(data, catalog, order, progress))
        new = stack.enter_context(opened(packed.path))
        dataset = new.manifest.dataset_id
        tell(f"packed: {counted(new.manifest.keys, 'key')}, dataset {dataset}")
        share = _pass_gate(catalog, served, new, order, tell) if served and served.dataset != dataset else None
        found = find_whole(catalog, dataset, served.folder if served else "", tell, progress)
        if served and found == served.folder:
            catalog.check_current(before)  # packing took its time, in which others may have published
            return Published(served, new.manifest.keys, changed=False, uploaded=False, gone=share)
        if found:
            folder = found
        elif packed.building:
            folder = move(new, packed.path, catalog, tell, progress)
        else:
            folder = upload(new, packed.path, catalog, tell, progress)
        version = catalog.serve(before, folder, order.by, order.force_swap).version
    return Published(version, new.manifest.keys, changed=True, uploaded=not found, gone=share)


def publish_parts(  # noqa: PLR0913, PLR0917 - what `publish` has, and in place of data what became of them
    made: Parts, catalog: Catalog, before: Current | None, order: Order, tell: Tell, progress: Progress
) -> Published:
    """Let the dataset of these parts be served, which are in the catalog already, and have been read back from there.

    `before` is what was served when packing began. Raises as `publish` does.
    """
    served = before.version if before else None
    with made.sealed() as (manifest, tables):
        dataset = manifest.dataset_id
        tell(f"packed: {counted(manifest.keys, 'key')}, dataset {dataset}")
        found = find_whole(catalog, dataset, served.folder if served else "", tell, progress)
        folder = found or made.assemble(catalog.objects, manifest, tables)
    share = None
    if served and served.dataset != dataset:
        try:
            with opened_in(catalog.objects, folder) as new:
                share = _pass_gate(catalog, served, new, order, tell)
        except BaseException:
            if not found:
                remove(catalog.objects, folder)
            raise
    if not found:
        tell(f"verified: each byte in {catalog.objects.place(folder)}")
    elif served and found == served.folder:
        catalog.check_current(before)  # as in `publish`
        return Published(served, manifest.keys, changed=False, uploaded=False, gone=share)
    version = catalog.serve(before, folder, order.by, order.force_swap).version
    return Published(version, manifest.keys, changed=True, uploaded=not found, gone=share)


@contextmanager
def _packed(data: Sequence[Path], catalog: Catalog, order: Order, progress: Progress) -> Iterator[Packed]:
    """The dataset of `data`: `data` itself, or packed now, as near as possible to where it is to be."""
    match data:
        case [path] if is_dataset(path):
            yield Packed(path, building=False)
            return
    if catalog.objects.path is None:
        made = packed_dataset(
            data, on_duplicate=order.on_duplicate, cache_dir=order.cache, budget=order.budget, progress=progress
        )
        with made as path:
            yield Packed(path, building=False)
        return
    sources = find(data)
    with building_place(catalog) as path:
        pack(sources, path, on_duplicate=order.on_duplicate, budget=order.budget, progress=progress)
        yield Packed(path, building=True)


def _pass_gate(catalog: Catalog, served: Version, new: Content, order: Order, tell: Tell) -> float | None:
    """The share of keys that are gone, if so many may be or it is forced; None if damage prevents the comparison.

    Raises PublishRefused, StoreError.
    """
    forced = order.force or order.force_swap
    dataset = new.manifest.dataset_id
    try:
        with opened_in(catalog.objects, served.folder) as old:
            found = gone(old, new)
    except (InvalidDataset, CorruptBlock, NoSuchObject) as error:
        if not forced:
            raise PublishRefused(
                f"{catalog.location}: what is served is damaged, so that nothing can be compared with it: {error};"
                " publish with --force"
            ) from error
        log.warning("%s has forced dataset %s past the gate: %s", order.by, dataset, error)
        return None
    looked = f"{'' if found.everything else 'a sample of '}{counted(found.looked_for, 'key')}"
    told = f"of {looked} of version {served.serial} {found.share:.1%} are gone"
    tell(f"compared: {told}")
    if found.share > order.gate:
        if not forced:
            raise PublishRefused(
                f"{catalog.location}: {told}, and {order.gate:.0%} may be; if the data is not truncated, publish it"
                " with --force, or with --force-swap if routers refuse it too"
            )
        log.warning("%s has forced dataset %s past the gate: %s", order.by, dataset, told)
    return found.share
