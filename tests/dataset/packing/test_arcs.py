"""Whoever sorts splits and merges arcs makes the dataset that packing on one machine makes, in whatever order."""

import random
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringkv.cluster.position import block_count
from ringkv.dataset.catalog import Catalog
from ringkv.dataset.content import opened
from ringkv.dataset.generate import lines
from ringkv.dataset.packing.arcs import (
    MAX_ARCS,
    ArcRun,
    Merge,
    Merged,
    Tally,
    arc_count,
    merge_arc,
    sort_frame,
    sort_split,
)
from ringkv.dataset.packing.local import pack
from ringkv.dataset.packing.memory import Budget
from ringkv.dataset.packing.merge import Duplicate, DuplicatePolicy
from ringkv.dataset.packing.parts import Parts, parts_folder
from ringkv.dataset.packing.splits import find_texts, splits
from ringkv.dataset.verify import damages

UUIDS = st.uuids(version=4).map(lambda uuid: str(uuid).encode())
PAIRS = st.dictionaries(UUIDS, st.binary(max_size=300).map(lambda value: value.replace(b"\n", b"\r")), max_size=40)

Found = Sequence[ArcRun | Tally]


def sorted_text(path: Path, arcs: int, size: int) -> list[ArcRun | Tally]:
    tasks = enumerate(splits(find_texts([str(path)]), size))
    return [one for number, split in tasks for one in sort_split(number, split, arcs, 1 << 20)]


def merged(
    found: Found, arcs: int, catalog: Path, policy: DuplicatePolicy = "error", segment_size: int = 1 << 20
) -> list[Merged | Duplicate]:
    """All arcs of what was sorted. Parts lie in the folder `parts` of the catalog."""
    tallies = [one for one in found if isinstance(one, Tally)]
    rows, values = sum(tally.rows for tally in tallies), sum(tally.values for tally in tallies)
    task = Merge(str(catalog), "parts", arcs, block_count(rows, values), policy, 1 << 20, segment_size)
    done = []
    for arc in range(arcs):
        runs = [one for one in found if isinstance(one, ArcRun) and one.arc == arc]
        with TemporaryDirectory() as scratch:
            done.append(merge_arc(task, arc, runs, Path(scratch)))
    return done


def assembled(done: Iterable[Merged | Duplicate], catalog: Path) -> tuple[str, Path]:
    """The id and the folder of the dataset of all parts."""
    parts = [part for one in done if isinstance(one, Merged) for part in one.parts]
    made = Parts(parts, [], [])
    with made.sealed() as (manifest, tables):
        return manifest.dataset_id, catalog / made.assemble(Catalog.at(catalog).objects, manifest, tables)


@given(PAIRS, st.randoms(use_true_random=False), st.sampled_from([1, 50, 1000]), st.sampled_from([1, 4, 16]))
@settings(max_examples=10, deadline=None)
def test_it_is_the_dataset_that_one_machine_makes(
    read: Callable[[Path], dict[bytes, bytes]], pairs: dict[bytes, bytes], shuffler: random.Random, size: int, arcs: int
) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "data").write_bytes(b"".join(b"%b %b\n" % pair for pair in pairs.items()))
        here = pack(folder / "data", folder / "packed", budget=Budget(1, 1 << 20))
        found = sorted_text(folder / "data", arcs, size)
        shuffler.shuffle(found)
        dataset, path = assembled(merged(found, arcs, folder / "catalog", segment_size=5000), folder / "catalog")
        assert dataset == here.dataset_id
        assert read(path) == pairs


def test_many_pairs_in_several_segments_of_an_arc(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"".join(lines(20_000, 3)))
    here = pack(tmp_path / "data", tmp_path / "packed", budget=Budget(1, 1 << 20))
    found = sorted_text(tmp_path / "data", 2, 100_000)
    done = merged(found, 2, tmp_path / "catalog", segment_size=200_000)
    assert all(isinstance(one, Merged) and len(one.parts) > 2 for one in done)
    dataset, path = assembled(done, tmp_path / "catalog")
    assert dataset == here.dataset_id
    with opened(path) as content:
        assert [segment.name for segment in content.manifest.segments][:2] == [
            "segment-00000.arrow",
            "segment-00001.arrow",
        ]
        assert list(damages(content.dataset, lambda *_step: None)) == []
    assert not list((tmp_path / "catalog" / "parts").iterdir())


def test_rows_of_a_table_are_the_same_as_lines(tmp_path: Path, key: Callable[[int], bytes]) -> None:
    pairs = [(key(number), b"value %d" % number) for number in range(300)]
    (tmp_path / "data").write_bytes(b"".join(b"%b %b\n" % pair for pair in pairs))
    here = pack(tmp_path / "data", tmp_path / "packed", budget=Budget(1, 1 << 20))
    batches = [
        pa.record_batch(
            [pa.array(column, pa.binary()) for column in zip(*pairs[at : at + 70], strict=True)], ["key", "value"]
        )
        for at in range(0, 300, 70)
    ]
    found = [*sort_frame(0, batches[:3], 4, 5000), *sort_frame(1, batches[3:], 4, 5000), *sort_frame(2, [], 4, 5000)]
    tallies = [one for one in found if isinstance(one, Tally)]
    assert [(tally.split, tally.rows) for tally in tallies] == [(0, 210), (1, 90), (2, 0)]
    assert assembled(merged(found, 4, tmp_path / "catalog"), tmp_path / "catalog")[0] == here.dataset_id


def test_the_first_bad_row_of_a_split_is_named(tmp_path: Path, key: Callable[[int], bytes]) -> None:
    good = [b"%b %d\n" % (key(number), number) for number in range(20)]
    (tmp_path / "data").write_bytes(b"".join([*good, b"bad\n", b"worse\n"]))
    *_, tally = sorted_text(tmp_path / "data", 4, 1 << 20)
    assert isinstance(tally, Tally)
    assert tally.malformed
    assert tally.malformed.line == 20
    batch = pa.record_batch([[key(1), None], [b"a", b"b"]], ["key", "value"])
    *_, tally = sort_frame(0, [batch.slice(0, 1), batch], 4, 1)
    assert isinstance(tally, Tally)
    assert tally.malformed == (2, "the key is null")


def test_duplicates_are_found_across_splits(tmp_path: Path, key: Callable[[int], bytes]) -> None:
    data = [b"%b %d\n" % (key(number % 30), number) for number in range(40)]
    (tmp_path / "data").write_bytes(b"".join(data))
    found = sorted_text(tmp_path / "data", 4, 200)
    refused = [one for one in merged(found, 4, tmp_path / "catalog") if isinstance(one, Duplicate)]
    assert refused
    assert all(one.first < one.second for one in refused)
    chosen: tuple[DuplicatePolicy, ...] = ("first", "last")
    for policy in chosen:
        here = pack(tmp_path / "data", tmp_path / policy, on_duplicate=policy, budget=Budget(1, 1 << 20))
        done = merged(found, 4, tmp_path / "catalog", policy)
        assert sum(one.rows for one in done if isinstance(one, Merged)) == 40
        assert assembled(done, tmp_path / "catalog")[0] == here.dataset_id


def test_parts_that_are_not_used_go_with_their_folder(tmp_path: Path) -> None:
    catalog = Catalog.at(tmp_path)
    with parts_folder(catalog.objects, []) as folder:
        catalog.objects.create(f"{folder}/of a lost attempt", b"part")
        (tmp_path / folder / ".begun.ringkv-part").touch()
    assert list(tmp_path.iterdir()) == []


def test_who_may_not_read_the_source_may_not_read_the_dataset(tmp_path: Path) -> None:
    source = tmp_path / "data"
    source.write_bytes(b"".join(lines(100, 3)))
    source.chmod(0o600)
    objects = Catalog.at(tmp_path / "catalog").objects
    with parts_folder(objects, [source]) as folder:
        assert (tmp_path / "catalog" / folder).stat().st_mode & 0o777 == 0o700
    found = sorted_text(source, 1, 1 << 20)
    (one,) = merged(found, 1, tmp_path / "catalog")
    assert isinstance(one, Merged)
    made = Parts(one.parts, [], [source])
    with made.sealed() as (manifest, tables):
        path = tmp_path / "catalog" / made.assemble(objects, manifest, tables)
    assert {file.stat().st_mode & 0o077 for file in (path, *path.iterdir())} == {0}


@pytest.mark.parametrize(("tasks", "arcs"), [(0, 1), (1, 1), (2, 2), (3, 4), (64, 64), (65, 128), (10_000, MAX_ARCS)])
def test_arcs_are_a_power_of_two(tasks: int, arcs: int) -> None:
    assert arc_count(tasks) == arcs
    assert np.log2(arcs) % 1 == 0
