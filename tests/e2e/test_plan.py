"""`ringkv plan` foretells what a cluster would do: the same placement, and the same moves, computed beforehand."""

import json
import re
import urllib.request
from collections.abc import Callable
from math import atan2, pi
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from ringkv.change import Shards, Weights, balance, change, changes, rings
from ringkv.cluster.position import slot, slot_shift
from ringkv.cluster.ring import build_ring
from ringkv.dataset.dataset import Dataset
from ringkv.drawing import CENTRES, MIDDLE, drawing
from tests.support.data import EXAMPLE
from tests.support.processes import Spawner, one_line, wait_for
from tests.support.terminal import SEQUENCE, terminal

SVG = "{http://www.w3.org/2000/svg}"
Planned = Callable[..., Any]


@pytest.fixture
def planned(spawn: Spawner) -> Planned:
    """The plan as JSON."""

    def run(*args: str | Path) -> Any:
        plan = spawn("plan", "--json", *args)
        assert (plan.wait(), plan.err) == (0, "")
        return json.loads(plan.out)

    return run


def get_ring(port: int) -> Any:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/ring", timeout=20) as response:
        return json.load(response)


@pytest.mark.parametrize("replicas", ["1", "2"])
def test_a_real_cluster_is_placed_as_planned(spawn: Spawner, planned: Planned, replicas: str) -> None:
    (plan,) = planned(EXAMPLE, "--shards", "3", "--replicas", replicas)["rings"]
    cluster = spawn.up(EXAMPLE, "--shards", "3", "--replicas", replicas)
    wait_for(lambda: get_ring(cluster.port)["ring"] == plan["ring"])
    real = get_ring(cluster.port)
    assert {load["name"]: (load["partitions"], load["keys"]) for load in plan["loads"]} == {
        shard["name"]: (shard["partitions"], shard["keys"]) for shard in real["shards"]
    }


def test_a_real_cluster_moves_what_was_planned(spawn: Spawner, planned: Planned) -> None:
    grown, shrunk = (planned(EXAMPLE, "--shards", shards, "--names", "s{n}")["changes"] for shards in ("3..4", "4..3"))
    shards = [spawn.shard(EXAMPLE, "--leased", "--name", f"s{number}") for number in (1, 2, 3)]
    fourth = f"unix:{spawn.directory()}/s"
    addresses = ",".join([*(str(shard.address) for shard in shards), fourth])
    router = spawn("router", "--shards", addresses, "--listen", "127.0.0.1:0")
    moves = r"topology {} in .* (\d+) partitions change owner, at least (\d+) have to"
    router.wait_for_line("topology 1 in .* 3 shards")
    added = spawn("shard", EXAMPLE, "--leased", "--name", "s4", "--listen", fourth)
    joined = router.wait_for_line(moves.format(2))
    assert [(step["moved"], step["least"]) for step in grown] == [(int(joined[1]), int(joined[2]))]
    added.process.terminate()
    left = router.wait_for_line(moves.format(3))
    assert [(step["moved"], step["least"]) for step in shrunk] == [(int(left[1]), int(left[2]))]


def test_keys_and_bytes_are_those_of_the_dataset(
    planned: Planned, generated: Callable[..., tuple[Path, Path]], example_pairs: dict[bytes, bytes]
) -> None:
    _, packed = generated(3000)
    plan = planned(packed, "--shards", "3..4")
    with Dataset.open(packed) as dataset:
        rows = [dataset.blocks_of(partition) for partition in range(256)]
        assert plan["dataset"] == dataset.manifest.dataset_id
    for ring in plan["rings"]:
        owned = {load["name"]: (load["keys"], load["bytes"]) for load in ring["loads"]}
        placed = build_ring(list(owned), 1, 256)
        assert sum(keys for keys, _ in owned.values()) == 3000
        for name, weight in owned.items():
            mine = [rows[partition] for partition in placed.owned_by(name)]
            assert weight == (sum(int(row["keys"].sum()) for row in mine), sum(int(row["bytes"].sum()) for row in mine))
    shift = slot_shift(256)
    before, after = (build_ring([f"shard-{n}" for n in range(1, count + 1)], 1, 256).owners for count in (3, 4))
    places = [slot(key) >> shift for key in example_pairs]
    (step,) = planned(EXAMPLE, "--shards", "3..4")["changes"]
    assert step["keys"] == sum(before[place] != after[place] for place in places)
    assert step["share"] == step["keys"] / 10_000


@pytest.mark.parametrize(("replicas", "counts"), [(1, (3, 4)), (2, (5, 3)), (3, (2, 4)), (3, (4, 2)), (2, (1, 1))])
def test_a_change_is_the_sum_of_its_partitions(replicas: int, counts: tuple[int, int]) -> None:
    before, after = rings(Shards("s{n}"), counts, replicas, 256)
    weights = Weights([number % 7 for number in range(256)], [number * 10 for number in range(256)])
    found = change(before, after, weights)
    gained = [len(set(new) - set(old)) for old, new in zip(before.owners, after.owners, strict=True)]
    assert found.moved == sum(gained) >= found.least
    assert found.keys == sum(count * (number % 7) for number, count in enumerate(gained))
    assert found.bytes == sum(count * number * 10 for number, count in enumerate(gained))
    assert found.share == found.keys / sum(weights.keys) / min(replicas, counts[1])
    assert found.ratio == (found.moved / found.least if found.least else None)
    loads = [load.keys or 0 for load in found.after.loads]
    assert sum(loads) == min(replicas, counts[1]) * sum(weights.keys)
    assert found.after.largest == pytest.approx(max(loads) * counts[1] / sum(loads))


def test_without_any_key_partitions_are_weighed() -> None:
    before, after = rings(Shards("s{n}"), (3, 4), 1, 256)
    empty = Weights([0] * 256, [4] * 256)
    assert (
        change(before, after, empty).share
        == change(before, after, None).share
        == change(before, after, None).moved / 256
    )
    assert balance(before, empty).largest == balance(before, None).largest


@pytest.mark.parametrize(
    ("counts", "steps"),
    [
        ((3, 4, 5, 6), [(3, 4), (4, 5), (5, 6), (3, 6)]),
        ((6, 5, 4), [(6, 5), (5, 4), (6, 4)]),
        ((3, 4), [(3, 4)]),
        ((5,), []),
    ],
)
def test_every_step_and_the_whole_are_planned(counts: tuple[int, ...], steps: list[tuple[int, int]]) -> None:
    found = changes(rings(Shards("s{n}"), counts, 1, 256), None)
    assert [(step.before.shards, step.after.shards) for step in found] == steps


def test_the_account_shows_changes_and_bars(spawn: Spawner) -> None:
    plan = spawn("plan", "--shards", "9..11", "--partitions", "4096", "--names", "ringkv-shard-{n}")
    assert (plan.wait(), plan.err) == (0, "")
    lines = [line.rstrip() for line in plan.out.splitlines()]
    assert lines[0] == "4,096 partitions, shards ringkv-shard-1 and so on"
    assert [line.split()[:3] for line in lines[3:6]] == [["9", "→", "10"], ["10", "→", "11"], ["9", "→", "11"]]
    bars = [line for line in lines if line.startswith("ringkv-shard-")]
    assert [line.split()[0] for line in bars] == [f"ringkv-shard-{number}" for number in range(1, 12)]
    assert re.fullmatch(r"ringkv-shard-1 +\d+ +█+[▏▎▍▌▋▊▉]? +\d+ +█+[▏▎▍▌▋▊▉]?", bars[0])
    assert re.fullmatch(r"ringkv-shard-11 +0 +\d+ +█+[▏▎▍▌▋▊▉]?", bars[-1])


def test_a_single_number_shows_how_even_it_is(spawn: Spawner) -> None:
    plan = spawn("plan", EXAMPLE, "--shards", "5")
    assert (plan.wait(), plan.err) == (0, "")
    assert "10,000 keys" in plan.out
    assert re.search(r"the largest shard has 1\.\d\d\d times the mean\n", re.sub(r" +\n", "\n", plan.out))
    assert plan.out.count("shard-5") == 1
    assert "→" not in plan.out


def test_a_small_terminal_has_room_for_it(cache: Path) -> None:
    with terminal("plan", str(EXAMPLE), "--shards", "3..8", "--cache", str(cache), columns=80) as shown:
        assert shown.end() == 0
    account = shown.raw[shown.raw.rindex("dataset ") :]
    lines = SEQUENCE.sub("", account).splitlines()
    assert max(map(len, lines)) <= 80
    assert "…" not in account
    assert "█" in account


def covered(document: str, centre: int) -> dict[str, float]:
    """The part of the circle at `centre` that is drawn in each shard's colour, and as moved, without a colour."""
    root = ET.fromstring(document)
    texts = [text.text or "" for text in root.iter(f"{SVG}text") if text.get("class") is None]
    shards = {rect.get("fill"): name for rect, name in zip(root.iter(f"{SVG}rect"), texts, strict=True)}
    found = {}
    for path in root.iter(f"{SVG}path"):
        arcs = re.findall(r"M([\d.]+) ([\d.]+)A\d+ \d+ 0 0 1 ([\d.]+) ([\d.]+)", path.get("d") or "")
        if abs(float(arcs[0][0]) - centre) < (CENTRES[1] - CENTRES[0]) / 2:
            angles = [
                atan2(float(to_x) - centre, MIDDLE - float(to_y)) - atan2(float(x) - centre, MIDDLE - float(y))
                for x, y, to_x, to_y in arcs
            ]
            found[shards.get(path.get("stroke"), "moved")] = sum(angle % (2 * pi) for angle in angles) / (2 * pi)
    return found


@pytest.mark.parametrize(("counts", "replicas"), [((3, 5), 1), ((4, 2), 1), ((1, 2), 1), ((3, 4), 2)])
def test_the_drawing_shows_each_partition_once_and_what_moves(counts: tuple[int, int], replicas: int) -> None:
    before, after = rings(Shards("shard-{n}"), counts, replicas, 256)
    document = drawing(before, after)
    moved = sum(bool(set(new) - set(old)) for old, new in zip(before.owners, after.owners, strict=True))
    for centre, ring, marks in ((CENTRES[0], before, {}), (CENTRES[1], after, {"moved": moved / 256})):
        first = [owners[0] for owners in ring.owners]
        assert covered(document, centre) == pytest.approx(
            {name: first.count(name) / 256 for name in ring.names} | marks, abs=0.001
        )
    assert f">{moved} of 256 partitions move<" in document


def test_a_single_ring_is_drawn_once(spawn: Spawner, tmp_path: Path) -> None:
    plan = spawn("plan", "--shards", "3", "--svg", tmp_path / "ring.svg")
    assert (plan.wait(), plan.err) == (0, "")
    document = (tmp_path / "ring.svg").read_text()
    assert sum(covered(document, CENTRES[0]).values()) == pytest.approx(1, abs=0.001)
    assert covered(document, CENTRES[1]) == {}
    assert "move" not in document.split("</style>")[1]


def test_a_ring_of_one_shard_is_a_whole_circle() -> None:
    (ring,) = rings(Shards("s{n}"), (1,), 1, 256)
    assert covered(drawing(ring, ring), CENTRES[0]) == pytest.approx({"s1": 1.0}, abs=0.001)


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        ([], 2, "Missing option '--shards'"),
        (["--shards", "0"], 2, "'0' is out of range; a plan is for 1 to 1024 shards"),
        (["--shards", "3..1025"], 2, "'3..1025' is out of range"),
        (["--shards", "3-8"], 2, "'3-8' is not a number of shards; want 3..8, 8..3 or 5"),
        (["--shards", "3.."], 2, "'3..' is not a number of shards"),
        (["--shards", "..3"], 2, "'..3' is not a number of shards"),
        (["--shards", "3..4..5"], 2, "'3..4..5' is not a number of shards"),
        (["--shards", "-1"], 2, "'-1' is not a number of shards"),
        (["--shards", "1e3"], 2, "'1e3' is not a number of shards"),
        (["--shards", "\u0663"], 2, "is not a number of shards"),
        (["--shards", "9" * 50], 2, "is not a number of shards"),
        (["--shards", ""], 2, "'' is not a number of shards"),
        (["--shards", "3", "--replicas", "0"], 2, "0 is not in the range"),
        (["--shards", "3", "--partitions", "300"], 2, "'300' is not a power of two from 256 to 16384"),
        (["--shards", "3", "--partitions", "128"], 2, "'128' is not a power of two"),
        (["--shards", "3", "--partitions", "32768"], 2, "'32768' is not a power of two"),
        (["--shards", "3", "--partitions", "256", str(EXAMPLE)], 1, "--partitions is for a plan without DATA"),
        (["--shards", "3", "--names", "shard"], 2, "'shard' has no {n}, or several, for the shard's number"),
        (["--shards", "3", "--names", "{n}{n}"], 2, "'{n}{n}' has no {n}, or several"),
        (["--shards", "3", "--names", "a b{n}"], 2, "not a shard's name: 'a b1024'"),
        (["--shards", "3", "--svg", "/none/ring.svg"], 1, "/none/ring.svg: cannot be written: No such file"),
        (["--shards", "3", "/none"], 1, "/none: cannot be read: No such file or directory"),
    ],
)
def test_wrong_usage_is_one_line(spawn: Spawner, args: list[str], code: int, said: str) -> None:
    assert said in one_line(spawn("plan", *args), code)


def test_zones_and_weights_are_planned(spawn: Spawner, planned: Planned) -> None:
    found = planned("--shards", "6", "--zones", "3", "--weights", "2,1,1", "--replicas", "2", "--partitions", "4096")
    (ring,) = found["rings"]
    assert [(load["zone"], load["weight"]) for load in ring["loads"][:4]] == [
        ("zone-1", 2.0),
        ("zone-2", 1.0),
        ("zone-3", 1.0),
        ("zone-1", 2.0),
    ]
    # A zone with half of the weight holds a copy of all partitions, and no other one.
    assert sum(load["partitions"] for load in ring["loads"] if load["zone"] == "zone-1") == 4096
    assert ring["largest"] < 1.06
    assert ring["lost"] == 0
    account = spawn("plan", "--shards", "3", "--zones", "3", "--weights", "2,1,1")
    assert account.wait() == 0
    assert re.search(r"in 3 zones in turn: a lost one takes \d+ partitions with it", account.out)
    assert re.search(r"shard-1 +\d+ .* zone-1 +2 *\n", account.out)


def test_weights_that_are_none_are_one_line(spawn: Spawner) -> None:
    assert "a weight is a number from 0.1 to 100" in one_line(spawn("plan", "--shards", "3", "--weights", "2,x"), 2)
