"""What was served can be told, and be served again, as long as it is whole."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ringkv.cluster.errors import CatalogError, InvalidDataset, NoSuchObject
from ringkv.dataset.catalog import Catalog
from ringkv.dataset.versions import listed, rollback
from tests.dataset.catalog.conftest import Publish
from tests.support.damage import flip_value_byte

Data = Callable[..., Path]


def test_each_dataset_is_told_with_the_time_that_it_was_served(catalog: Catalog, publish: Publish, data: Data) -> None:
    first, second = publish(data(range(500))).version, publish(data(range(501))).version
    new, old = listed(catalog)
    assert (new.folder, new.serial, new.since, new.until, new.by) == (second.folder, 2, second.at, None, "a test")
    assert (old.folder, old.serial, old.since, old.until, old.keys) == (first.folder, 1, first.at, second.at, 500)
    assert new.bytes > 501 * 16


def test_what_was_never_served_is_told_too(catalog: Catalog, publish: Publish, data: Data) -> None:
    folder = publish(data(range(500))).version.folder
    catalog.objects.delete(["current.json"])
    (entry,) = listed(catalog)
    assert (entry.folder, entry.serial, entry.since) == (folder, None, None)


def test_what_is_not_finished_is_not_told(catalog: Catalog, publish: Publish, data: Data) -> None:
    version = publish(data(range(500))).version
    catalog.objects.delete([f"{version.folder}/manifest.json"])
    assert listed(catalog) == []


def test_a_rollback_serves_what_was_served_before(catalog: Catalog, publish: Publish, data: Data) -> None:
    first = publish(data(range(500))).version
    second = publish(data(range(501))).version
    back, changed = rollback(catalog, None, "me")
    assert changed
    assert (back.folder, back.serial, back.by, back.forced) == (first.folder, 3, "me", True)
    current = catalog.current()
    assert current
    assert current.version == back
    again, _ = rollback(catalog, None, "me")
    assert (again.folder, again.serial) == (second.folder, 4)


def test_any_dataset_can_be_named_by_how_its_id_begins(catalog: Catalog, publish: Publish, data: Data) -> None:
    first, *_, last = (publish(data(range(500 + more))).version for more in range(3))
    back, _ = rollback(catalog, first.dataset[:12].upper(), "me")
    assert back.folder == first.folder
    same, changed = rollback(catalog, first.dataset, "me")
    assert (same, changed) == (back, False)
    assert rollback(catalog, last.folder, "me")[0].folder == last.folder


@pytest.mark.parametrize("location", ["folder"], indirect=True)
def test_of_a_dataset_that_had_to_be_published_again_the_later_copy_is_gone_back_to(
    catalog: Catalog, publish: Publish, data: Data
) -> None:
    assert catalog.objects.path
    damaged = publish(data(range(500))).version
    flip_value_byte(catalog.objects.path / damaged.folder, 7)
    again = publish(data(range(500))).version
    publish(data(range(501)))
    assert rollback(catalog, again.dataset, "me")[0].folder == again.folder


def test_what_cannot_be_gone_back_to_is_refused(catalog: Catalog, publish: Publish, data: Data) -> None:
    with pytest.raises(CatalogError, match="nothing was published yet"):
        rollback(catalog, None, "me")
    found = [publish(data(range(500 + more))).version for more in range(17)]
    with pytest.raises(CatalogError, match="has no whole dataset 'xyz'"):
        rollback(catalog, "xyz", "me")
    letters = [version.dataset[0] for version in found]
    shared = next(letter for letter in letters if letters.count(letter) > 1)  # 17 ids begin with 16 digits
    with pytest.raises(CatalogError, match=f"{shared} may be {shared}.* or {shared}.*; give more of it"):
        rollback(catalog, shared, "me")


def test_the_first_version_has_none_before_it(catalog: Catalog, publish: Publish, data: Data) -> None:
    publish(data(range(500)))
    with pytest.raises(CatalogError, match="no other dataset was served before"):
        rollback(catalog, None, "me")


@pytest.mark.parametrize("name", ["manifest.json", "blocks.arrow", "partitions.arrow", "segment-00000.arrow"])
@pytest.mark.parametrize("how", ["gone", "cut off"])
def test_what_is_not_whole_is_not_gone_back_to(
    catalog: Catalog, publish: Publish, data: Data, name: str, how: str
) -> None:
    first = publish(data(range(500))).version
    second = publish(data(range(501))).version
    path = f"{first.folder}/{name}"
    content = catalog.objects.read(path)
    catalog.objects.delete([path])
    if how == "cut off":
        catalog.objects.create(path, content[:-100])
    with pytest.raises((InvalidDataset, NoSuchObject), match=f"{first.folder}.*"):
        rollback(catalog, None, "me")
    current = catalog.current()
    assert current
    assert current.version == second
