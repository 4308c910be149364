"""The gate sees what is missing, wherever it is, and reads no more than it has to."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from ringkv.dataset.content import Content, opened
from ringkv.dataset.gate import RUN_KEYS, gone
from ringkv.dataset.packing.local import pack

Data = Callable[..., Path]


@pytest.fixture
def content(data: Data, tmp_path: Path) -> Iterator[Callable[..., Content]]:
    """Packs keys, and opens their dataset."""
    with ExitStack() as stack:

        def make(numbers: range) -> Content:
            target = tmp_path / f"{len(list(tmp_path.iterdir()))}.packed"
            pack(data(numbers, str(numbers)), target)
            return stack.enter_context(opened(target))

        yield make


@pytest.mark.parametrize(
    ("before", "after", "missing"),
    [
        (range(1000), range(1000), 0),
        (range(1000), range(2000), 0),
        (range(1000), range(1), 999),
        (range(1000), range(1, 1000), 1),
        (range(1000), range(1000, 2000), 1000),
        (range(100_000), range(50_000), 50_000),  # of other numbers of blocks
        (range(300), range(100_000), 0),
    ],
)
def test_few_keys_are_counted_exactly(
    content: Callable[..., Content], before: range, after: range, missing: int
) -> None:
    found = gone(content(before), content(after))
    assert (found.looked_for, found.gone, found.everything) == (len(before), missing, True)
    assert found.share == missing / len(before)


def test_of_many_keys_a_sample_is_enough(content: Callable[..., Content], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ringkv.dataset.gate.EXACT_BYTES", 0)
    monkeypatch.setattr("ringkv.dataset.gate.RUN_KEYS", RUN_KEYS // 16)
    monkeypatch.setattr("ringkv.dataset.gate.SAMPLE_BYTES", 0)
    old, new = content(range(200_000)), content(range(170_000))
    found = gone(old, new)
    assert not found.everything
    assert 64 * 150 < found.looked_for < 50_000
    assert found.share == pytest.approx(0.15, abs=0.02)


def test_a_dataset_without_keys_misses_none(content: Callable[..., Content]) -> None:
    found = gone(content(range(0)), content(range(5)))
    assert (found.looked_for, found.share) == (0, 0)
