"""Pruning removes what nobody needs, and never what is served, was just served, is young or is open."""

import os
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, tzinfo
from pathlib import Path

import pytest

from ringkv.cluster.errors import CatalogError
from ringkv.dataset.catalog import Catalog, new_folder
from ringkv.dataset.dataset import Dataset
from ringkv.dataset.objects import Objects
from ringkv.dataset.prune import prune
from ringkv.dataset.versions import listed, rollback
from tests.dataset.catalog.conftest import Publish
from tests.support.damage import flip_value_byte

Data = Callable[..., Path]


class Tomorrow(datetime):
    """A clock that is a day ahead."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> "Tomorrow":
        return super().now(tz) + timedelta(days=1)


@pytest.fixture
def folders(publish: Publish, data: Data) -> list[str]:
    """Of five versions, the oldest first."""
    return [publish(data(range(500 + more))).version.folder for more in range(5)]


def there(catalog: Catalog) -> set[str]:
    return {entry.folder for entry in listed(catalog)}


def pruned(catalog: Catalog, keep: int, min_age: float = 0, *, dry_run: bool = False) -> list[str]:
    return [entry.folder for entry in prune(catalog, keep, min_age, dry_run=dry_run)]


def test_the_last_ones_stay(catalog: Catalog, folders: list[str]) -> None:
    assert sorted(pruned(catalog, 3)) == sorted(folders[:2])
    assert there(catalog) == set(folders[2:])
    names = {found.name.partition("/")[0] for found in catalog.objects.list()}
    assert names == {"current.json", *folders[2:]}
    assert pruned(catalog, 3) == []


def test_a_dry_run_removes_nothing(catalog: Catalog, folders: list[str]) -> None:
    assert sorted(pruned(catalog, 3, dry_run=True)) == sorted(folders[:2])
    assert there(catalog) == set(folders)


def test_what_is_served_and_what_was_before_stay_however_old(catalog: Catalog, folders: list[str]) -> None:
    rollback(catalog, folders[0], "me")
    pruned(catalog, 0)
    assert there(catalog) == {folders[0], folders[4]}


@pytest.mark.parametrize("location", ["folder"], indirect=True)
def test_the_dataset_before_stays_also_where_what_is_served_had_to_be_published_again(
    catalog: Catalog, folders: list[str], publish: Publish, data: Data
) -> None:
    """Else there would be nothing to go back to but the damaged copy."""
    assert catalog.objects.path
    flip_value_byte(catalog.objects.path / folders[4], 7)
    again = publish(data(range(504))).version.folder
    assert again not in folders
    pruned(catalog, 2)
    assert rollback(catalog, None, "me")[0].folder == folders[3]


def test_the_last_ones_are_those_that_were_served_last(catalog: Catalog, folders: list[str]) -> None:
    for folder in (folders[0], folders[3], folders[4]):
        rollback(catalog, folder, "me")
    assert sorted(pruned(catalog, 3)) == sorted(folders[1:3])


@pytest.mark.parametrize("location", ["folder"], indirect=True)
def test_the_last_ones_stay_whatever_the_clocks_of_their_publishers_say(
    catalog: Catalog, publish: Publish, data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as clock:
        clock.setattr("ringkv.dataset.catalog.datetime", Tomorrow)
        ahead = publish(data(range(500))).version.folder
    others = [publish(data(range(501 + more))).version.folder for more in range(3)]
    assert pruned(catalog, 3) == [ahead]
    assert there(catalog) == set(others)


def test_what_is_young_stays(catalog: Catalog, folders: list[str]) -> None:
    assert pruned(catalog, 2, 3600) == []
    assert there(catalog) == set(folders)


@pytest.mark.parametrize("location", ["folder"], indirect=True)
def test_what_was_served_of_late_stays_however_old(
    catalog: Catalog, folders: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert catalog.objects.path
    for found in catalog.objects.list():
        os.utime(catalog.objects.path / found.name, (1, 1))
    assert pruned(catalog, 2, 3600) == []
    later = time.time() + 4000
    monkeypatch.setattr("ringkv.dataset.prune.time.time", lambda: later)
    assert sorted(pruned(catalog, 2, 3600)) == sorted(folders[:3])


@pytest.mark.parametrize("location", ["folder"], indirect=True)
def test_what_was_served_long_ago_goes_though_what_is_served_is_new(
    catalog: Catalog, folders: list[str], publish: Publish, data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = time.time() + 4000
    monkeypatch.setattr("ringkv.dataset.prune.time.time", lambda: later)
    monkeypatch.setattr("ringkv.dataset.catalog.datetime", Tomorrow)
    publish(data(range(505)))
    assert sorted(pruned(catalog, 2, 3600)) == sorted(folders[:4])


@pytest.mark.parametrize("location", ["folder"], indirect=True)
def test_a_folder_in_which_nothing_was_finished_goes_when_it_is_old(catalog: Catalog) -> None:
    assert catalog.objects.path
    begun = catalog.objects.path / new_folder("ab" * 16)
    begun.mkdir(parents=True)
    (begun / ".segment-00000.arrow.abc.ringkv-part").write_bytes(b"1234")
    assert pruned(catalog, 2, 3600) == []
    assert pruned(catalog, 2) == [begun.name]
    assert not begun.exists()


def test_what_nobody_has_finished_goes_when_it_is_old(catalog: Catalog, folders: list[str]) -> None:
    begun = new_folder("ab" * 16)
    catalog.objects.create(f"{begun}/segment-00000.arrow", b"1234")
    assert pruned(catalog, 9, 3600) == []
    (entry,) = prune(catalog, 9, 0, dry_run=False)
    assert (entry.folder, entry.bytes, entry.whole) == (begun, 4, False)
    assert there(catalog) == set(folders)


def test_a_folder_whose_manifest_is_empty_goes_too(catalog: Catalog, folders: list[str]) -> None:
    manifest = f"{folders[0]}/manifest.json"
    catalog.objects.delete([manifest])
    catalog.objects.create(manifest, b"")
    assert sorted(pruned(catalog, 3)) == sorted(folders[:2])
    assert not any(found.name.startswith(folders[0]) for found in catalog.objects.list())


def test_what_is_not_ours_stays(catalog: Catalog, folders: list[str]) -> None:
    others = {"notes.txt", "other/data", f"{'ab' * 16}/data", f"{'ab' * 16}.0123456/data"}
    for name in others:
        catalog.objects.create(name, b"1")
    pruned(catalog, 2)
    assert others <= {found.name for found in catalog.objects.list()}
    assert there(catalog) == set(folders[3:])


def test_a_place_where_nothing_was_published_has_nothing_to_remove(catalog: Catalog) -> None:
    assert pruned(catalog, 3) == []


def test_what_is_published_at_that_moment_stays(
    catalog: Catalog, folders: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody goes back to a version after it was found old, and before it is removed."""
    listing = type(catalog.objects).list
    asked: list[str] = []

    def interrupted(self: Objects, prefix: str = "") -> object:
        found = list(listing(self, prefix))
        asked.append(prefix)
        if len(set(asked) & set(folders)) == len(folders):
            asked.clear()
            rollback(catalog, folders[1], "me")
        return iter(found)

    monkeypatch.setattr(type(catalog.objects), "list", interrupted)
    assert pruned(catalog, 2) in ([folders[0], folders[2]], [folders[2], folders[0]])
    monkeypatch.undo()
    assert folders[1] in there(catalog)
    current = catalog.current()
    assert current
    assert current.version.folder == folders[1]


def test_what_is_pruned_as_it_is_published_is_not_served(
    catalog: Catalog, folders: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a shard that starts then would find nothing. In a folder of this machine it is locked, and not pruned."""
    swapping = type(catalog.objects).swap

    def interrupted(self: Objects, name: str, data: bytes, tag: str | None) -> None:
        monkeypatch.undo()
        pruned(catalog, 2)
        swapping(self, name, data, tag)

    monkeypatch.setattr(type(catalog.objects), "swap", interrupted)
    before = catalog.current()
    assert before
    wanted = folders[0]
    if catalog.objects.path:
        rollback(catalog, wanted, "me")
    else:
        with pytest.raises(CatalogError, match="was pruned meanwhile; publish it again"):
            rollback(catalog, wanted, "me")
        wanted = folders[4]
    current = catalog.current()
    assert current
    assert (current.version.folder, current.version.serial > before.version.serial) == (wanted, True)
    assert there(catalog) >= {wanted, folders[3], folders[4]}
    assert rollback(catalog, None, "me")[0].folder in {folders[3], folders[4]}


def test_what_was_served_meanwhile_stays(catalog: Catalog, folders: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Routers let it go only minutes later, and what they have not fetched of it would be gone."""
    listing = type(catalog.objects).folders

    def interrupted(self: Objects) -> Sequence[str]:
        monkeypatch.undo()
        monkeypatch.setattr("ringkv.dataset.catalog.datetime", Tomorrow)  # which is after all that there is
        for folder in (folders[1], folders[4], folders[3]):
            rollback(catalog, folder, "me")
        return listing(self)

    monkeypatch.setattr(type(catalog.objects), "folders", interrupted)
    assert sorted(pruned(catalog, 2)) == sorted([folders[0], folders[2]])
    assert there(catalog) == {folders[1], folders[3], folders[4]}


def test_what_is_finished_at_that_moment_stays(
    catalog: Catalog, folders: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by a publisher on a machine that slept for hours."""
    assert folders
    begun = new_folder("ab" * 16)
    catalog.objects.create(f"{begun}/segment-00000.arrow", b"1234")
    listing = type(catalog.objects).list

    def interrupted(self: Objects, prefix: str = "") -> object:
        found = list(listing(self, prefix))
        if prefix == begun:
            self.create(f"{begun}/manifest.json", b"{}")
        return iter(found)

    monkeypatch.setattr(type(catalog.objects), "list", interrupted)
    assert pruned(catalog, 9) == []
    assert catalog.objects.read(f"{begun}/segment-00000.arrow") == b"1234"


@pytest.mark.parametrize("location", ["folder"], indirect=True)
def test_what_a_process_has_open_stays(catalog: Catalog, folders: list[str]) -> None:
    assert catalog.objects.path
    with Dataset.open(catalog.objects.path / folders[0]):
        assert sorted(pruned(catalog, 3)) == [folders[1]]
    assert pruned(catalog, 3) == [folders[0]]


def test_what_killed_publishers_left_in_a_folder_goes(tmp_path: Path) -> None:
    catalog = Catalog.at(tmp_path)
    (tmp_path / ".publish.abc.ringkv-packing").mkdir()
    part = tmp_path / ".current.json.abc.ringkv-part"
    part.write_bytes(b"")
    os.utime(part, (1, 1))
    young = tmp_path / ".current.json.def.ringkv-part"
    young.write_bytes(b"")
    pruned(catalog, 3, 3600)
    assert list(tmp_path.iterdir()) == [young]


def test_an_age_from_before_all_calendars_lets_everything_stay(tmp_path: Path) -> None:
    catalog = Catalog.at(tmp_path)
    catalog.objects.create(f"{new_folder('ab' * 16)}/segment-00000.arrow", b"1234")
    for min_age in (1e11, 1e18):
        assert pruned(catalog, 2, min_age) == []
