"""`ringkv plan --pairs` foretells what data take: held to packs made here, and to figures of two idle cores."""

import json
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from ringkv.change import Shards
from ringkv.cluster.ring import build_ring
from ringkv.dataset.dataset import Dataset
from ringkv.dataset.format import BLOCK_ROW
from ringkv.shard.settings import WARM_RATE
from ringkv.sizing import BLOCK_ROW as BLOCK_ROW_BYTES
from ringkv.sizing import Data, drawn, shards_needed, sized
from tests.support.processes import Spawner, one_line

PACKED: Final = {1_000_000: 81_207_528, 10_000_000: 809_098_926, 100_000_000: 8_087_075_726}
"""Pairs with values of 60 bytes → bytes of the folder that `ringkv pack` made of them."""

PACKED_CORE_SECONDS: Final = {1_000_000: 2.01, 10_000_000: 16.78, 100_000_000: 120.0}
"""The same → processor time that packing took, of all of its processes; as what follows, of an hour in which two cores
were slow, which is what times are foretold for."""

STARTED: Final = {1_000_000: 1.31, 10_000_000: 1.44, 100_000_000: 1.42}
"""The same → seconds of `ringkv up` until the first answer."""

READ: Final = {1_000_000: 1.45, 10_000_000: 2.92, 100_000_000: 16.8}
"""The same → seconds of `ringkv up` until two shards have read all that they hold."""

READ_CORE_SECONDS: Final = {1_000_000: 0.148, 10_000_000: 1.08, 100_000_000: 13.5}
"""The same → processor time of reading and checking all of it ahead."""

RESIDENT: Final = {1_000_000: 129.3e6, 10_000_000: 388.8e6, 100_000_000: 2.931e9}
"""The same → bytes of memory of the largest of three shards, when it has read all that it holds."""


def plan(spawn: Spawner, *args: str | Path) -> Any:
    done = spawn("plan", "--json", *args)
    assert (done.wait(), done.err) == (0, "")
    return json.loads(done.out)


def children_seconds() -> float:
    """Processor time of the processes that this one has started and waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def folder_size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


@pytest.mark.parametrize(("pairs", "value_size"), [(3000, 60), (100_000, 60), (20_000, 3000)])
def test_a_dataset_is_as_large_as_foretold(
    generated: Callable[..., tuple[Path, Path]], pairs: int, value_size: int
) -> None:
    data, packed = generated(pairs, value_size=value_size)
    foretold = Data(pairs, pairs * value_size)
    assert foretold.dataset == pytest.approx(folder_size(packed), rel=0.02)
    assert foretold.text == pytest.approx(data.stat().st_size, rel=0.01)
    with Dataset.open(packed) as dataset:
        assert foretold.partitions == dataset.manifest.partitions
        assert foretold.blocks == dataset.manifest.blocks


def test_foretold_and_measured_are_a_fifth_apart_at_most() -> None:
    foretold = {pairs: sized(Data(pairs, 60 * pairs), 1, 1, 1, WARM_RATE) for pairs in PACKED}
    assert {pairs: sizing.dataset for pairs, sizing in foretold.items()} == pytest.approx(PACKED, rel=0.01)
    packing = {pairs: foretold[pairs].packing_core_seconds for pairs in PACKED_CORE_SECONDS}
    assert packing == pytest.approx(PACKED_CORE_SECONDS, rel=0.2)
    start = {pairs: sizing.start for pairs, sizing in foretold.items()}
    assert start == pytest.approx(STARTED, rel=0.2)
    read = {pairs: sizing.warm_core_seconds for pairs, sizing in foretold.items()}
    assert read == pytest.approx(READ_CORE_SECONDS, rel=0.2)
    warm = {pairs: sized(Data(pairs, 60 * pairs), 2, 1, 1, WARM_RATE).warm for pairs in PACKED}
    assert warm == pytest.approx(READ, rel=0.2)
    memory = {pairs: sized(Data(pairs, 60 * pairs), 3, 1, 1, WARM_RATE).memory for pairs in PACKED}
    assert memory == pytest.approx(RESIDENT, rel=0.2)
    assert BLOCK_ROW.itemsize == BLOCK_ROW_BYTES


@pytest.mark.parametrize(("replicas", "zones", "shards"), [(1, 1, 4), (2, 1, 5), (2, 3, 12), (3, 2, 7)])
def test_no_shard_holds_more_than_foretold(replicas: int, zones: int, shards: int) -> None:
    sizing = sized(Data(30_000_000, 30_000_000 * 60), shards, replicas, zones, WARM_RATE)
    weights = drawn(sizing)
    assert sum(weights.keys) == sizing.pairs
    assert sum(weights.bytes) == pytest.approx(sizing.dataset, rel=0.001)
    places = Shards(zones=zones).places(shards)
    left = {name: place for name, place in places.items() if zones == 1 or place.zone != "zone-1"}
    for stand, part in ((places, sizing.part), (left, sizing.part_lost)):
        ring = build_ring(stand, replicas, sizing.partitions, stand)
        held = dict.fromkeys(ring.names, 0)
        for owners, size in zip(ring.owners, weights.bytes, strict=True):
            for name in owners:
                held[name] += size
        assert 0.9 * part < max(held.values()) < 1.01 * part


def test_the_fewest_shards_that_suffice_are_told() -> None:
    data = Data(1_000_000_000, 60_000_000_000)
    for replicas, zones in ((1, 1), (2, 1), (2, 3)):
        needed = shards_needed(data, 16 << 30, replicas, zones)
        assert needed % zones == 0
        assert sized(data, needed, replicas, zones, WARM_RATE).memory <= 0.9 * (16 << 30)
        assert sized(data, needed - zones, replicas, zones, WARM_RATE).memory > 0.9 * (16 << 30)


def test_ten_billion_pairs_are_planned_in_time(spawn: Spawner) -> None:
    before = children_seconds()
    command = ("--pairs", "1e10", "--value-size", "60", "--memory", "64G", "--replicas", "2", "--zones", "3")
    found = plan(spawn, *command)
    assert children_seconds() - before < 10
    sizing = found["sizing"]
    assert sizing["pairs"] == 10**10
    assert sizing["dataset"] == pytest.approx(810e9, rel=0.01)
    assert sizing["shards"] == 42
    assert [ring["shards"] for ring in found["rings"]] == [42, 41]
    assert sum(load["keys"] for load in found["rings"][0]["loads"]) == 2 * 10**10
    (change,) = found["changes"]
    assert change["share"] == pytest.approx(1 / 42, rel=0.2)
    assert change["ratio"] < 1.15
    account = spawn("plan", *command)
    assert account.wait() == 0
    assert "10,000,000,000 pairs with 60 bytes each: 980.0 GB as text" in account.out
    assert "42, 14 in each of 3 zones, 2 of each key" in account.out


def test_without_zones_little_more_moves_than_must(spawn: Spawner) -> None:
    (change,) = plan(spawn, "--pairs", "1e10", "--value-size", "60", "--replicas", "2", "--shards", "42..41")["changes"]
    assert change["share"] == pytest.approx(1 / 42, rel=0.2)
    assert change["ratio"] < 1.15


def test_a_thousand_shards_are_even_and_give_up_little(spawn: Spawner) -> None:
    before = children_seconds()
    found = plan(spawn, "--pairs", "1e10", "--shards", "1000..999", "--replicas", "2")
    assert children_seconds() - before < 10
    for ring in found["rings"]:
        assert ring["largest"] < 1.10
    assert found["changes"][0]["share"] < 0.002
    assert found["sizing"]["shards"] == 999


def test_data_are_sized_as_they_are(spawn: Spawner, generated: Callable[..., tuple[Path, Path]]) -> None:
    _, packed = generated(3000)
    sizing = plan(spawn, packed, "--memory", "1G")["sizing"]
    assert sizing["pairs"] == 3000
    assert sizing["dataset"] == pytest.approx(folder_size(packed), rel=0.05)
    assert sizing["shards"] == 1


def test_times_can_be_those_of_this_machine(spawn: Spawner) -> None:
    command = ("--pairs", "10M", "--shards", "2")
    there, here = (plan(spawn, *command, *options)["sizing"] for options in ((), ("--here",)))
    assert there["machine"] == {"start": 1, "reading": 1, "packing": 1}
    machine = here["machine"]
    for ratio, amount in {
        "start": "start",
        "reading": "warm_core_seconds",
        "packing": "packing_core_seconds",
    }.items():
        assert 0.1 < machine[ratio] < 100
        assert here[amount] == pytest.approx(machine[ratio] * there[amount])
    assert {name: here[name] for name in ("dataset", "part", "memory")} == {
        name: there[name] for name in ("dataset", "part", "memory")
    }
    account = spawn("plan", *command)
    assert account.wait() == 0
    assert "as on the machine of docs/operations.md; --here tells those of this one" in account.out


def test_a_machine_that_cannot_be_measured_is_one_line(spawn: Spawner) -> None:
    command = (sys.executable, "-m", "ringkv", "plan", "--pairs", "1M", "--shards", "2", "--here")
    told = one_line(spawn.run("prlimit", "--fsize=1000000", *command))
    assert "this machine cannot be measured: File too large; say where there is room with $TMPDIR" in told


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["--pairs", "1e10"], 2, "Missing option '--shards', or --memory with DATA or --pairs."),
        (["--pairs", "many"], 2, "'many' is not a number of pairs from 1 to 1e+12; want 1e10, 10M or 1000"),
        (["--pairs", "1e13"], 2, "'1e13' is not a number of pairs"),
        (["--pairs", "0"], 2, "'0' is not a number of pairs"),
        (["--memory", "1G"], 1, "--memory tells how many shards hold some data; give DATA or --pairs"),
        (["--pairs", "1M", "--memory", "1G", "--weights", "2,1"], 1, "--memory is that of machines which are alike"),
        (["--shards", "3", "--pairs", "1M", "--partitions", "256"], 1, "--partitions follows from --pairs"),
        (["--shards", "3", "--here"], 1, "--here is about times, which a plan with --pairs or --memory tells"),
        (["--shards", "3", "--pairs", "1M", "example.data"], 1, "--pairs is for a plan without DATA"),
        (["--pairs", "1M", "--memory", "10M"], 1, "10,485,760 bytes of memory are too few: a shard takes 104,857,600"),
        (["--pairs", "1e11", "--memory", "1G"], 1, "do not fit the memory of 1,024 shards"),
        (["--pairs", "1e12", "--shards", "3"], 1, "80,016,979,066,880 bytes are more than a dataset may have"),
        (["--pairs", "1e12", "--memory", "99T"], 1, "80,016,979,066,880 bytes are more than a dataset may have"),
        (["--pairs", "1", "--value-size", "65M", "--shards", "3"], 1, "a value may have 67,108,864 bytes at most"),
        (["--pairs", "9", "--value-size", "99999999999999T", "--shards", "3"], 1, "give a smaller --value-size"),
    ],
)
def test_what_cannot_be_sized_is_one_line(spawn: Spawner, args: list[str], code: int, said: str) -> None:
    assert said in one_line(spawn("plan", *args), code)
