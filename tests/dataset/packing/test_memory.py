"""What packing takes of memory: as much as it may, as little as it needs, and chunks that follow from that."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ringkv.cluster.errors import PackingFailed
from ringkv.dataset.packing import memory
from ringkv.dataset.packing.memory import Budget, budget_of
from ringkv.dataset.source.file import Identity, RegularFile
from ringkv.dataset.source.find import find
from ringkv.dataset.source.lines import TextFile
from tests.dataset.source.kinds import fed_pipe
from tests.support.processes import Spawner, one_line

MIB = 1 << 20


def text_of(size: int) -> TextFile:
    """A source of so many bytes, as far as anybody looks."""
    return TextFile(RegularFile(Path("data"), "data", Identity(0, 0, size, 0, 0)))


@pytest.mark.parametrize(
    ("cores", "limit", "expected"),
    [
        (1, 32 * MIB, Budget(1, 4 * MIB)),
        (8, 32 * MIB, Budget(1, 4 * MIB)),
        (8, 64 * MIB, Budget(2, 64 * MIB // 16)),
        (2, 1024 * MIB, Budget(2, 1024 * MIB // 16)),
        (16, 32 << 30, Budget(16, (32 << 30) // 128)),
    ],
)
def test_workers_share_what_they_may_take_and_are_fewer_where_that_is_little(
    monkeypatch: pytest.MonkeyPatch, cores: int, limit: int, expected: Budget
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: set(range(cores)))
    assert budget_of(limit) == expected


def test_without_a_limit_it_is_a_quarter_of_what_is_available(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: {0, 1})
    for available, expected in ((1 << 30, 256 * MIB // 16), (1, 4 * MIB)):
        monkeypatch.setattr(memory, "available", lambda available=available: available)
        assert budget_of().chunk == expected


@pytest.mark.parametrize(
    ("size", "chunk"), [(0, 16 * MIB), (100_000_000, 16 * MIB), (8_800_000_000, 16_981_118), (10**12, 181_019_335)]
)
def test_chunks_grow_with_the_square_root_of_the_data(size: int, chunk: int) -> None:
    assert Budget(2, 1 << 30).chunk_of([text_of(size)]) == chunk
    assert Budget(2, 1 << 30).chunk_of([text_of(size // 2), text_of(size - size // 2)]) == chunk
    assert Budget(2, 100).chunk_of([text_of(size)]) == 100


def test_a_stream_may_be_large(tmp_path: Path) -> None:
    with fed_pipe(tmp_path / "pipe", b"") as pipe:
        sources = find([pipe])
        assert Budget(2, 1 << 30).chunk_of(sources) == 64 * MIB
        assert Budget(2, 100).chunk_of(sources) == 100
        pipe.read_bytes()


def test_a_limit_that_is_too_small_is_refused_in_one_line(spawn: Spawner, tmp_path: Path) -> None:
    with pytest.raises(PackingFailed):
        budget_of(32 * MIB - 1)
    line = one_line(spawn("pack", "example.data", tmp_path / "out", "--memory", "1M"))
    assert line == "Error: 1,048,576 bytes of memory are too few to pack with; give 32M or more"
    assert not (tmp_path / "out").exists()


HELD = """
import sys
from pathlib import Path
from ringkv.dataset.packing.local import pack
from ringkv.dataset.packing.memory import Budget


def resident(name):
    fields = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields[name].split()[0]) << 10


pack(Path("example.data"), Path(sys.argv[2], "small"), budget=Budget(1, 1 << 20))
Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
before = resident("VmRSS")
pack(Path(sys.argv[1]), Path(sys.argv[2], "packed"), budget=Budget(1, int(sys.argv[3])))
print(resident("VmHWM") - before)
"""


@pytest.mark.parametrize("chunk", [4 * MIB, 16 * MIB])
def test_a_worker_holds_no_more_than_so_many_chunks(
    tmp_path: Path, generated: Callable[..., tuple[Path, Path]], chunk: int
) -> None:
    data, _ = generated(400_000)
    assert data.stat().st_size > 2 * chunk
    held = subprocess.run(
        [sys.executable, "-c", HELD, data, tmp_path, str(chunk)], capture_output=True, text=True, check=True
    )
    assert 0 < int(held.stdout) <= memory.HELD * chunk
