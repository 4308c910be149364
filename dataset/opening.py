"""What `Dataset.open` finds at an address: a packed dataset, or what a catalog serves, here or in a store."""

from pathlib import Path

from xxhash import xxh3_64_hexdigest

from ringkv.dataset.catalog import Catalog, is_catalog
from ringkv.dataset.dataset import Dataset
from ringkv.dataset.format import MANIFEST
from ringkv.dataset.manifest import parse_manifest
from ringkv.dataset.mirror import Mirror, open_mirrored


def open_dataset(location: str, mirror: Mirror | None) -> Dataset:
    """The dataset at this path or address; that which is served, if there is a catalog. Raises as `Dataset.open`."""
    if not is_catalog(location):
        return Dataset.open(Path(location))
    catalog = Catalog.at(location)
    if current := catalog.current():
        return catalog.open(current.version.folder, mirror)
    objects = catalog.objects
    if objects.path is not None:
        return Dataset.open(objects.path)
    # The mirror is named by the content: another dataset may come to lie at this address.
    manifest = parse_manifest(Path(objects.location), objects.read(MANIFEST))
    name = f"{manifest.dataset_id}.{xxh3_64_hexdigest(objects.location.encode())[:8]}"
    return open_mirrored(objects, "", name, mirror)
