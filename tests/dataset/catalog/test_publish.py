"""What is published is served whole, and what should not be is refused before anybody is led to it."""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from ringkv.cluster.errors import CorruptBlock, DuplicateKey, PublishRefused, StoreError, VersionConflict
from ringkv.dataset.catalog import Catalog, Current, new_folder
from ringkv.dataset.content import RANGE, opened_in
from ringkv.dataset.objects import Objects
from ringkv.dataset.packing.local import pack
from ringkv.dataset.publish import Order
from ringkv.dataset.source.protocol import Source
from ringkv.dataset.versions import listed
from tests.dataset.catalog.conftest import ORDER, Publish
from tests.support.damage import flip_value_byte, place_of

Data = Callable[..., Path]


def keys_of(catalog: Catalog) -> int:
    """How many keys what is served has, all of them read."""
    current = catalog.current()
    assert current
    with opened_in(catalog.objects, current.version.folder) as content:
        assert content.manifest.dataset_id == current.version.dataset
        return sum(block.row.keys for block in content.blocks(range(content.manifest.blocks)))


def names(catalog: Catalog) -> set[str]:
    return {found.name for found in catalog.objects.list()}


def flip(catalog: Catalog, folder: str) -> None:
    """Change one byte of the first block's keys, behind the back of the catalog."""
    name = f"{folder}/segment-00000.arrow"
    with opened_in(catalog.objects, folder) as content:
        row = next(row for row in content.rows(0, content.manifest.blocks).tolist() if row[0])
    data = bytearray(catalog.objects.read(name))
    data[row[3]] ^= 1
    catalog.objects.delete([name])
    catalog.objects.create(name, bytes(data))


def test_what_is_published_is_served(catalog: Catalog, publish: Publish, data: Data) -> None:
    told: list[str] = []
    done = publish(data(range(500)), told=told)
    current = catalog.current()
    assert current
    assert done.version == current.version
    assert (done.keys, done.changed, done.uploaded, done.gone) == (500, True, True, None)
    assert (current.version.serial, current.version.by, current.version.forced) == (1, "a test", False)
    assert keys_of(catalog) == 500
    assert [line.partition(":")[0] for line in told if not line.startswith("uploaded")] == ["packed", "verified"]


def test_nothing_but_the_dataset_is_left(catalog: Catalog, publish: Publish, data: Data) -> None:
    folder = publish(data(range(500))).version.folder
    files = ("manifest.json", "partitions.arrow", "blocks.arrow", "segment-00000.arrow")
    assert names(catalog) == {"current.json", *(f"{folder}/{name}" for name in files)}
    if catalog.objects.path:
        assert {path.name for path in catalog.objects.path.iterdir()} == {".current.json.lock", "current.json", folder}


def test_publishing_what_is_served_changes_nothing(catalog: Catalog, publish: Publish, data: Data) -> None:
    first = publish(data(range(500)))
    before = {(found.name, found.modified) for found in catalog.objects.list()}
    again = publish(data(range(500), "the same"))
    assert (again.version, again.changed, again.uploaded) == (first.version, False, False)
    assert {(found.name, found.modified) for found in catalog.objects.list()} == before


def test_what_lies_under_the_name_of_another_dataset_is_not_served(
    catalog: Catalog, publish: Publish, data: Data
) -> None:
    """As where somebody has copied a folder over another one."""
    first, second = publish(data(range(500))).version, publish(data(range(501))).version
    catalog.objects.delete([f"{first.folder}/manifest.json"])
    wrong = new_folder(first.dataset)
    for found in list(catalog.objects.list(second.folder)):
        catalog.objects.create(found.name.replace(second.folder, wrong), catalog.objects.read(found.name))
    told: list[str] = []
    assert publish(data(range(500)), told=told).version.folder not in {first.folder, wrong}
    assert keys_of(catalog) == 500
    assert (
        f"damaged: {catalog.objects.place(wrong)}: holds dataset {second.dataset}, not what its name says"
        in "".join(told)
    )


@pytest.mark.parametrize("location", ["folder"], indirect=True)
def test_what_was_damaged_since_it_was_packed_is_not_served(
    catalog: Catalog, publish: Publish, data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    def packed(sources: Sequence[Source], target: Path, **named: Any) -> None:
        pack(sources, target, **named)
        flip_value_byte(target, 7)

    monkeypatch.setattr("ringkv.dataset.publish.pack", packed)
    with pytest.raises(CorruptBlock, match="is corrupt: its bytes do not match their checksum"):
        publish(data(range(500)))
    assert catalog.current() is None
    assert names(catalog) == set()


def test_a_packed_dataset_is_published_as_it_is(catalog: Catalog, publish: Publish, data: Data, tmp_path: Path) -> None:
    pack(data(range(500)), tmp_path / "packed")
    version = publish(tmp_path / "packed").version
    for name in ("manifest.json", "blocks.arrow", "segment-00000.arrow"):
        assert catalog.objects.read(f"{version.folder}/{name}") == (tmp_path / "packed" / name).read_bytes()


def test_a_dataset_of_several_segments_is_published_whole(
    catalog: Catalog, publish: Publish, data: Data, tmp_path: Path
) -> None:
    pairs = {number: b"%d" % number * 600 for number in range(6000)}
    manifest = pack(data(pairs), tmp_path / "packed", segment_size=5 << 20)
    assert len(manifest.segments) > 2
    assert manifest.segments[0].size > RANGE
    version = publish(tmp_path / "packed").version
    assert keys_of(catalog) == 6000
    for entry in manifest.segments:
        assert catalog.objects.read(f"{version.folder}/{entry.name}") == (tmp_path / "packed" / entry.name).read_bytes()


def test_what_the_catalog_has_is_not_uploaded_again(publish: Publish, data: Data) -> None:
    first = publish(data(range(500)))
    publish(data(range(490)))
    back = publish(data(range(500)))
    assert (back.version.folder, back.version.serial) == (first.version.folder, 3)
    assert (back.changed, back.uploaded) == (True, False)


def test_a_truncated_source_is_refused(catalog: Catalog, publish: Publish, data: Data) -> None:
    first = publish(data(range(500)))
    before = names(catalog)
    with pytest.raises(PublishRefused, match=r"of 500 keys of version 1 50\.0% are gone, and 10% may be; if the data"):
        publish(data(range(250)))
    current = catalog.current()
    assert current
    assert current.version == first.version
    assert names(catalog) == before


def test_as_many_as_the_gate_says_may_be_gone(publish: Publish, data: Data) -> None:
    publish(data(range(500)))
    assert publish(data(range(450))).gone == pytest.approx(0.1)
    with pytest.raises(PublishRefused, match=r"0\.2% are gone, and 0% may be"):
        publish(data(range(449)), Order("me", budget=ORDER.budget, gate=0))


@pytest.mark.parametrize("force_swap", [False, True])
def test_who_forces_it_is_told(
    catalog: Catalog, publish: Publish, data: Data, caplog: pytest.LogCaptureFixture, *, force_swap: bool
) -> None:
    publish(data(range(500)))
    order = Order("somebody", budget=ORDER.budget, force=not force_swap, force_swap=force_swap)
    with caplog.at_level(logging.WARNING, "ringkv.dataset"):
        done = publish(data(range(250)), order)
    assert (done.version.forced, done.gone) == (force_swap, 0.5)
    assert caplog.messages == [
        f"somebody has forced dataset {done.version.dataset} past the gate: of 500 keys of version 1 50.0% are gone"
    ]
    assert keys_of(catalog) == 250


def test_a_damaged_upload_is_found_before_it_is_served(
    catalog: Catalog, publish: Publish, data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = publish(data(range(500)))
    pack(data(range(480)), tmp_path / "packed")
    kind = type(catalog.objects)
    create = kind.create

    def damaging(self: Objects, name: str, content: bytes | Path) -> None:
        if name.endswith("segment-00000.arrow"):
            assert isinstance(content, Path)
            content = content.read_bytes()
            content = content[:5000] + bytes([content[5000] ^ 1]) + content[5001:]
        create(self, name, content)

    monkeypatch.setattr(kind, "create", damaging)
    before = names(catalog)
    with pytest.raises(StoreError, match=r"segment-00000\.arrow: is not what was sent; publish again"):
        publish(tmp_path / "packed")
    current = catalog.current()
    assert current
    assert current.version == first.version
    assert names(catalog) == before


def test_a_damaged_dataset_is_found_before_it_is_uploaded(
    catalog: Catalog, publish: Publish, data: Data, tmp_path: Path
) -> None:
    pack(data(range(480)), tmp_path / "packed")
    flip_value_byte(tmp_path / "packed", next(at for at in range(256) if place_of(tmp_path / "packed", at).row.keys))
    with pytest.raises(CorruptBlock, match=r"/packed: block .* is corrupt: its bytes do not match their checksum"):
        publish(tmp_path / "packed")
    assert names(catalog) == set()


def test_what_is_served_and_damaged_is_uploaded_again(catalog: Catalog, publish: Publish, data: Data) -> None:
    first = publish(data(range(500)))
    flip(catalog, first.version.folder)
    told: list[str] = []
    again = publish(data(range(500)), told=told)
    assert any(line.startswith("damaged: ") and "is corrupt" in line for line in told)
    assert again.version.folder != first.version.folder
    assert (again.version.serial, again.version.dataset) == (2, first.version.dataset)
    assert keys_of(catalog) == 500


def test_nothing_is_compared_with_what_is_damaged(catalog: Catalog, publish: Publish, data: Data) -> None:
    flip(catalog, publish(data(range(500))).version.folder)
    with pytest.raises(PublishRefused, match=r"what is served is damaged, .* is corrupt: .*; publish with --force"):
        publish(data(range(501)))
    forced = publish(data(range(501)), Order("me", budget=ORDER.budget, force=True))
    assert (forced.gone, keys_of(catalog)) == (None, 501)


def test_what_an_upload_left_that_failed_is_removed(
    catalog: Catalog, publish: Publish, data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack(data(range(500)), tmp_path / "packed")
    kind = type(catalog.objects)
    create = kind.create

    def failing(self: Objects, name: str, content: bytes | Path) -> None:
        if name.endswith("manifest.json"):
            raise StoreError("full")
        create(self, name, content)

    with monkeypatch.context() as patch:
        patch.setattr(kind, "create", failing)
        with pytest.raises(StoreError, match="full"):
            publish(tmp_path / "packed")
    assert names(catalog) == set()
    assert catalog.objects.path is None or not list(catalog.objects.path.iterdir())


def test_what_cannot_be_packed_changes_nothing(catalog: Catalog, publish: Publish, data: Data, tmp_path: Path) -> None:
    first = publish(data(range(500)))
    before = names(catalog)
    twice = tmp_path / "twice"
    twice.write_bytes(data(range(3)).read_bytes() * 2)
    with pytest.raises(DuplicateKey):
        publish(twice)
    current = catalog.current()
    assert current
    assert current.version == first.version
    assert names(catalog) == before
    if catalog.objects.path:
        assert not list(catalog.objects.path.glob(".*packing"))


def test_of_two_who_publish_at_once_one_is_told_of_the_other(
    catalog: Catalog, publish: Publish, data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(data(range(500)))
    begin = Barrier(2)
    serve = Catalog.serve

    def serve_with_the_other(self: Catalog, expected: Current | None, *args: Any, **named: Any) -> Current:
        begin.wait()
        return serve(self, expected, *args, **named)

    monkeypatch.setattr(Catalog, "serve", serve_with_the_other)
    paths = [data(range(500 + number), str(number)) for number in (1, 2)]
    with ThreadPoolExecutor(2) as pool:
        done = [pool.submit(publish, path) for path in paths]
    (lost,) = [str(run.exception()) for run in done if isinstance(run.exception(), VersionConflict)]
    (won,) = [run.result().version for run in done if run.exception() is None]
    assert f"a test has published dataset {won.dataset} as version 2 meanwhile" in lost
    current = catalog.current()
    assert current
    assert current.version == won
    assert len(listed(catalog)) == 3  # the one who lost has lost no work


def test_who_publishes_what_is_served_is_told_if_another_has_published_meanwhile(
    catalog: Catalog, publish: Publish, data: Data
) -> None:
    first, other = data(range(500)), data(range(501), "other")
    publish(first)

    class Steps(list[str]):
        """The other one publishes as soon as the first has packed, and has seen that there is nothing to do."""

        def append(self, line: str) -> None:
            if line.startswith("packed"):
                publish(other)
            super().append(line)

    with pytest.raises(VersionConflict, match=r"a test has published dataset [0-9a-f]{32} as version 2 meanwhile"):
        publish(first, told=Steps())
    assert keys_of(catalog) == 501
