"""Equal content is an equal dataset: in whatever order, by whatever workers, in whatever segments and chunks."""

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringkv.dataset.dataset import Dataset
from ringkv.dataset.generate import lines
from ringkv.dataset.packing import local
from ringkv.dataset.packing.local import pack
from ringkv.dataset.packing.memory import Budget, budget_of
from ringkv.dataset.packing.runs import Run
from ringkv.dataset.slots import slots
from ringkv.dataset.text import Columns, parse
from ringkv.dataset.verify import damages
from tests.support.data import random_keys

Read = Callable[[Path], dict[bytes, bytes]]

UUIDS = st.uuids(version=4).map(lambda uuid: str(uuid).encode())
PAIRS = st.dictionaries(UUIDS, st.binary(max_size=300).map(lambda value: value.replace(b"\n", b"\r")), max_size=40)


@given(
    PAIRS,
    st.randoms(use_true_random=False),
    st.builds(Budget, st.sampled_from([1, 8]), st.sampled_from([1, 200, 1 << 20])),
    st.sampled_from([1, 200, 4000, 1 << 30]),
)
@settings(max_examples=60, deadline=None)
def test_the_id_follows_from_the_pairs_alone(
    read: Read, pairs: dict[bytes, bytes], shuffler: random.Random, budget: Budget, segment_size: int
) -> None:
    shuffled = list(pairs.items())
    shuffler.shuffle(shuffled)
    with TemporaryDirectory() as name, ThreadPoolExecutor(budget.workers) as executor:
        folder = Path(name)
        (folder / "one").write_bytes(b"".join(b"%b %b\n" % pair for pair in pairs.items()))
        (folder / "other").write_bytes(b"".join(b"%b %b\n" % (key.upper(), value) for key, value in shuffled))
        one = pack(folder / "one", folder / "packed-one", executor=executor, budget=Budget(1, 1 << 20))
        other = pack(
            folder / "other",
            folder / "packed-other",
            executor=executor,
            budget=budget,
            segment_size=segment_size,
        )
        assert one.dataset_id == other.dataset_id
        assert (len(one.segments), one.keys) == (1, len(pairs))
        if segment_size == 1:
            assert len(other.segments) >= len(pairs) > 1 or len(pairs) < 20
        assert read(folder / "packed-other") == pairs


def test_cuts_within_a_slot_do_not_change_the_dataset(
    tmp_path: Path, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there are more blocks than slots, and one slot is more than a worker may hold."""
    monkeypatch.setattr(local, "block_count", lambda _keys, _size: 1 << 16)
    everything = parse(b"".join(b"%b \n" % key for key in random_keys(200_000, 3)))
    assert isinstance(everything, Columns)
    chosen = [key.tobytes().hex() for key in everything.keys[slots(everything.keys) % 2048 == 5]]
    pairs = {f"{k[:8]}-{k[8:12]}-{k[12:16]}-{k[16:20]}-{k[20:]}".encode(): k[:20].encode() * 5 for k in chosen}
    assert len(pairs) > 50
    (tmp_path / "data").write_bytes(b"".join(b"%b %b\n" % pair for pair in pairs.items()))
    asked: list[int] = []
    search = Run._within  # noqa: SLF001 - to know that it was needed at all

    def within(self: Run, descriptor: int, position: int, *around: object) -> tuple[int, int]:
        asked.append(position)
        return search(self, descriptor, position, *around)  # type: ignore[arg-type]

    monkeypatch.setattr(Run, "_within", within)
    with ThreadPoolExecutor(1) as executor:
        whole = pack(tmp_path / "data", tmp_path / "whole", executor=executor)
        assert not asked
        cut = pack(tmp_path / "data", tmp_path / "cut", executor=executor, budget=Budget(1, 500))
    assert asked
    assert cut.dataset_id == whole.dataset_id
    assert cut.blocks_per_partition == 4
    assert read(tmp_path / "cut") == pairs
    with Dataset.open(tmp_path / "cut") as dataset:
        assert list(damages(dataset, lambda *_step: None)) == []


@pytest.mark.million
@pytest.mark.timeout(1200)
def test_a_million_pairs_have_one_id(tmp_path: Path) -> None:
    written = b"".join(lines(1_000_000, 7)).split(b"\n")[:-1]
    (tmp_path / "one").write_bytes(b"\n".join(written))
    random.Random(1).shuffle(written)
    (tmp_path / "other").write_bytes(b"\n".join(written))
    expected = pack(tmp_path / "one", tmp_path / "packed").dataset_id
    for workers, memory, segments in product((1, 8), (64 << 20, 1 << 30), (1, 50)):
        budget = Budget(workers, budget_of(memory).chunk)
        size = (tmp_path / "one").stat().st_size // segments
        made = pack(tmp_path / "other", tmp_path / "packed", budget=budget, segment_size=size)
        assert made.dataset_id == expected
        assert segments * 0.7 <= len(made.segments) <= segments * 1.3
    with Dataset.open(tmp_path / "packed") as dataset:
        assert list(damages(dataset, lambda *_step: None)) == []
