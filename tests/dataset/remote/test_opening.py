"""A dataset is read without any server: here or in a store, by its own address or by its catalog's."""

import json
from contextlib import ExitStack
from pathlib import Path

import pytest

from ringkv.cluster.errors import CorruptBlock, InvalidDataset, InvalidKey, NoSuchObject, StoreError
from ringkv.dataset.catalog import Catalog
from ringkv.dataset.dataset import Dataset
from ringkv.dataset.mirror import Mirror
from ringkv.dataset.verify import damages
from tests.support.damage import flip_value_byte
from tests.support.web import Web

MISSING = b"00000000-0000-4000-8000-000000000000"


def test_every_key_has_its_value_wherever_the_dataset_lies(
    packed: Path, remote: Web, pairs: dict[bytes, bytes]
) -> None:
    for location in (packed, str(packed), f"file://{packed}", f"{remote.url}/packed"):
        with Dataset.open(location) as dataset:
            assert dataset.get(next(iter(pairs)).decode().upper()) == next(iter(pairs.values()))
            assert dataset.get(MISSING) is None
            assert dict(dataset.items()) == pairs
            for key in list(pairs)[:100]:
                assert dataset.get(key) == pairs[key]
            with pytest.raises(InvalidKey):
                dataset.get(b"no key")


def test_the_items_of_all_partitions_by_themselves_are_all_items_in_the_same_order(packed: Path, remote: Web) -> None:
    with Dataset.open(str(packed)) as here, Dataset.open(f"{remote.url}/packed") as there:
        every = list(here.items())
        middle = here.manifest.partitions // 3
        assert [*there.items(last=middle), *there.items(middle, middle + 1), *there.items(middle + 1)] == every


def test_one_key_is_one_range_of_one_block(remote: Web, pairs: dict[bytes, bytes]) -> None:
    with Dataset.open(f"{remote.url}/packed") as dataset:
        assert not remote.ranges()
        key = next(iter(pairs))
        assert dataset.get(key) == pairs[key]
        (asked,) = remote.ranges()
        assert asked.size < 4_000


def test_all_items_come_in_few_requests(remote: Web, pairs: dict[bytes, bytes]) -> None:
    with Dataset.open(f"{remote.url}/packed") as dataset:
        assert sum(1 for _ in dataset.items()) == len(pairs)
        assert len(remote.ranges()) <= len(dataset.segments)


def test_what_was_read_is_not_kept_without_a_mirror_and_nothing_is_left(remote: Web, pairs: dict[bytes, bytes]) -> None:
    key = next(iter(pairs))
    with Dataset.open(f"{remote.url}/packed") as dataset:
        folder = dataset.path
        assert [dataset.get(key) for _ in range(3)] == [pairs[key]] * 3
        assert len(remote.ranges()) == 3
        assert folder.is_dir()
    assert not folder.parent.exists()


def test_what_was_read_is_kept_in_a_mirror(tmp_path: Path, remote: Web, pairs: dict[bytes, bytes]) -> None:
    mirror = Mirror(tmp_path / "cache")
    for requests in (1, 0):
        remote.asked.clear()
        with Dataset.open(f"{remote.url}/packed", mirror) as dataset:
            key = next(iter(pairs))
            assert [dataset.get(key) for _ in range(3)] == [pairs[key]] * 3
            assert len(remote.ranges()) == requests
    mirror.close()


def test_a_catalog_is_the_dataset_that_it_serves(
    packed: Path, remote: Web, tmp_path: Path, pairs: dict[bytes, bytes]
) -> None:
    dataset_id = json.loads((packed / "manifest.json").read_text())["dataset_id"]
    folder = f"{dataset_id}.0123abcd"
    packed.rename(tmp_path / folder)
    catalog = Catalog.at(tmp_path)
    catalog.swap(None, dataset_id, folder, by="somebody", forced=False)
    for location in (str(tmp_path), remote.url):
        with Dataset.open(location) as dataset:
            assert dict(dataset.items()) == pairs


def test_what_is_no_dataset_is_told_in_one_line(remote: Web, packed: Path) -> None:
    with pytest.raises(NoSuchObject, match=r"nothing/manifest\.json: no such object"):
        Dataset.open(f"{remote.url}/nothing")
    (packed / "manifest.json").write_text("{}")
    with pytest.raises(InvalidDataset, match="is damaged"):
        Dataset.open(f"{remote.url}/packed")
    remote.fault = "refuse"
    with pytest.raises(StoreError, match="cannot be reached"):
        Dataset.open(f"{remote.url}/packed")


def test_a_wrong_block_is_refused_by_name_and_found_when_the_dataset_is_verified(
    packed: Path, remote: Web, pairs: dict[bytes, bytes]
) -> None:
    flip_value_byte(packed, 7)
    flip_value_byte(packed, 200)
    url = f"{remote.url}/packed"
    with Dataset.open(url) as dataset:
        with pytest.raises(CorruptBlock, match=f"^{url}: block 7 is corrupt: "):
            list(dataset.items())
        assert len(list(damages(dataset, lambda _done, _all: None))) == 2
        wrong = [key for key in pairs if not _is_read(dataset.get, key)]
        assert 0 < len(wrong) < 50


def _is_read(get: object, key: bytes) -> bool:
    assert callable(get)
    try:
        return bool(get(key))
    except CorruptBlock:
        return False


def test_what_was_closed_is_not_read_and_writes_to_no_file_that_was_opened_since(
    tmp_path: Path, remote: Web, pairs: dict[bytes, bytes]
) -> None:
    mirror = Mirror(tmp_path / "cache")
    with Dataset.open(f"{remote.url}/packed", mirror) as filled:
        assert dict(filled.items()) == pairs
    dataset = Dataset.open(f"{remote.url}/packed", mirror)
    items = dataset.items()
    next(items)
    dataset.close()
    remote.asked.clear()
    with ExitStack() as stack:
        # They get the numbers of the descriptors that were closed.
        others = [stack.enter_context((tmp_path / f"other-{number}").open("wb")) for number in range(16)]
        closed = f"{dataset.path}: is closed; open it again"
        for ask in (lambda: list(items), lambda: dataset.get(next(iter(pairs))), lambda: list(dataset.items())):
            with pytest.raises(InvalidDataset) as raised:
                ask()
            assert str(raised.value) == closed
    assert [Path(other.name).stat().st_size for other in others] == [0] * 16
    assert remote.asked == []
    mirror.close()
