"""`python -m bench disk`, `large`, `remote` and `plan`, end to end, with data that takes seconds instead of hours."""

import importlib.util
import shutil
import sys
from pathlib import Path
from typing import Final

import pytest

from bench import disk, extstore, rocks
from bench.cgroup import CannotLimit
from bench.data import Data, prepare
from bench.disk import BATCH, CONNECTIONS, Disk, measure_disk
from bench.extent import at_size, from_disk, from_store
from bench.figures import RINGKV, Figures
from bench.fio import FIO
from bench.large import HANG, HANG_2, KILL, SORT
from bench.plan import FORETOLD, MEASURED, QUANTITIES, foretold_and_measured, furthest
from bench.quiet import Quiet
from bench.remote import CURL, LOCAL
from bench.sample import Sampler
from tests.support.processes import Spawner, short_directory

PATIENCE: Final = 280
"""Seconds for all of one command, on a busy machine too."""

PAIRS: Final = 200_000


def measured(spawn: Spawner, folder: Path, step: str, *args: str) -> tuple[Figures, str]:
    """What a command has left behind, and said."""
    options = ["--rounds", "1", "--patience", "0", "--work", str(folder / "work"), "--docs", str(folder)]
    spawned = spawn.run(sys.executable, "-m", "bench", step, *args, *options)
    assert spawned.wait(PATIENCE) == 0, spawned.err + spawned.out
    figures = Figures()
    figures.read(folder / "work" / "results" / f"{step}.json")
    assert not [path for path in (folder / "work").iterdir() if path.name.startswith("disk-")]
    return figures, spawned.out


def test_what_a_disk_gives_is_measured_beside_fio_and_others(spawn: Spawner, tmp_path: Path) -> None:
    packed = prepare(tmp_path / "work", PAIRS).packed
    figures, said = measured(spawn, tmp_path, "disk", str(packed), "--seconds", "1")
    under_way = {"cold": CONNECTIONS, "hot": 1, "batch": 1, "memory": CONNECTIONS}
    if limited := "mixed, in a quarter of the memory: not measured" not in said:
        under_way["mixed"] = CONNECTIONS
    for quantity, requests in under_way.items():
        rate = figures.median(RINGKV, f"{quantity} rate", PAIRS) or 0
        p50, p99 = (figures.median(RINGKV, f"{quantity} {name}", PAIRS) or 0 for name in ("p50", "p99"))
        assert 0 < p50 <= p99 < 10
        assert rate * (BATCH if quantity == "batch" else 1) > 10  # keys a second
        # Little's law, whatever the disk gives: rate x mean = requests under way, and no median is over twice the mean.
        assert rate * p50 <= 2 * requests
    assert "pages dropped by posix_fadvise" in said
    peers = {
        FIO: ("cold", shutil.which("fio") is not None),
        extstore.EXTSTORE: ("cold", shutil.which("memcached") is not None),
    }
    if limited:
        assert (figures.median(RINGKV, "mixed rate", PAIRS) or 0) > 100
        installed = importlib.util.find_spec("rocksdict") is not None
        peers[rocks.ROCKSDB] = peers[f"{rocks.ROCKSDB}, {CONNECTIONS} threads"] = ("mixed", installed)
    for subject, (quantity, there) in peers.items():
        assert there == bool(figures.median(subject, f"{quantity} rate", PAIRS)), said
    assert f"{RINGKV}, {PAIRS:,} pairs" in (tmp_path / "bench.md").read_text("utf-8")
    assert len(from_disk(figures)) > 5


def test_what_a_large_dataset_costs_is_measured(spawn: Spawner, tmp_path: Path) -> None:
    figures, _ = measured(spawn, tmp_path, "large", "--pairs", "200k")
    bounds = {
        "large pack": (0.1, 200),
        "large resident": (20e6, 2e9),
        "large bytes a key": (20, 23),
        "large start warm": (0.1, 60),
        "large start cold": (0.1, 60),
        "large read": (0.1, 60),
        "large anonymous": (10e6, 200e6),
        "hot hits": (100e-9, 1e-3),
        "hot misses": (100e-9, 1e-3),
    }
    for quantity, (least, most) in bounds.items():
        assert least < (figures.median(RINGKV, quantity, PAIRS) or 0) < most, quantity
    assert figures.points(RINGKV, "hot hits") == [PAIRS // 10, PAIRS]
    assert (figures.median(SORT, "large pack", PAIRS) or 0) > 0.01
    for trouble in (KILL, HANG, HANG_2):
        assert (figures.median(trouble, "lost requests", PAIRS) or 0) > 5000
        assert 0 < (figures.median(trouble, "lost longest", PAIRS) or 0) < 30
        assert (figures.median(trouble, "lost failed", PAIRS) or 0) < 5000
    assert f"| {KILL}: the longest wait meanwhile | {PAIRS:,} |" in (tmp_path / "bench.md").read_text("utf-8")
    assert len(at_size(figures)) > 10


def test_what_shards_fetch_of_a_store_is_measured(spawn: Spawner, tmp_path: Path) -> None:
    figures, _ = measured(spawn, tmp_path, "remote", "--pairs", "50k", "--seconds", "1")
    bounds = {
        (RINGKV, "remote first answer"): (0.01, 60),
        (RINGKV, "remote miss p99"): (1e-4, 10),
        (RINGKV, "hydration"): (0.01, 100),
        (CURL, "hydration"): (0.001, 100),
        (RINGKV, "fetched beyond owned"): (1, 1.3),
        (RINGKV, "fetch requests"): (3, 1000),
        (RINGKV, "fetched beyond moved"): (1, 1.3),
        (RINGKV, "warm rate"): (100, 1e6),
        (LOCAL, "warm rate"): (100, 1e6),
    }
    for (subject, quantity), (least, most) in bounds.items():
        assert least <= (figures.median(subject, quantity, 50_000) or 0) <= most, quantity
    assert figures.median(RINGKV, "fetched by a restart", 50_000) == 0
    assert len(from_store(figures)) > 10


def test_what_is_foretold_is_measured_too(spawn: Spawner, tmp_path: Path) -> None:
    figures, said = measured(spawn, tmp_path, "plan", "--pairs", "100k")
    for quantity in QUANTITIES:
        assert figures.median(FORETOLD, quantity, 100_000)
        assert figures.median(MEASURED, quantity, 100_000), said
    for quantity in ("dataset", "part", "moved"):
        assert figures.ratio(quantity, FORETOLD, MEASURED, 100_000) == pytest.approx(1, rel=0.1)
    assert f"| {QUANTITIES['moved'][0]} | 100,000 |" in (tmp_path / "bench.md").read_text("utf-8")
    assert len(foretold_and_measured(figures)) == 1 + len(QUANTITIES)
    assert furthest(figures)


def test_what_cannot_be_measured_is_named_with_the_reason(
    tiny: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unlimited(_limit: int) -> None:
        raise CannotLimit("no controller")

    monkeypatch.setattr(disk, "program_path", lambda _program: None)
    monkeypatch.setattr(disk, "MemoryGroup", unlimited)
    monkeypatch.setattr(rocks, "installed", lambda: False)
    figures = Figures()
    with short_directory() as folder:
        measure_disk(Disk(Sampler(tiny.packed), 1, 1, folder, tmp_path, Quiet(0), figures))
    said = capsys.readouterr().out
    for subject, package in ((FIO, "fio"), (rocks.ROCKSDB, "rocksdict"), (extstore.EXTSTORE, "memcached")):
        assert f"{subject}: not measured, because it is not installed ({package}" in said
        assert subject in figures.missing
    assert "mixed, in a quarter of the memory: not measured: no controller" in said
    assert figures.notes["mixed, in a quarter of the memory: not measured"] == "no controller"
    assert figures.median(RINGKV, "cold rate", tiny.pairs)
