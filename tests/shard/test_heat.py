"""A shard tells how busy it is and with which partitions, as far as a sample of its work shows that."""

import random
from pathlib import Path

import pytest

from ringkv.cluster.hot import Load
from ringkv.cluster.position import slot
from ringkv.shard.heat import SAMPLES, WINDOW, WORK_SHIFT, Heat, busy_seconds
from tests.support.data import random_keys
from tests.support.packed import pack_pairs
from tests.support.served import serving

DATASET, OTHER = "d" * 32, "e" * 32
KEYS = random_keys(2_000, seed=21)
HOT = KEYS[0]


@pytest.fixture(autouse=True)
def the_same_samples_in_every_run() -> None:
    random.seed(7)


class Hands:
    """A clock and a processor that are moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0
        self.busy = 7.0
        self.heat = Heat(lambda: self.now, lambda: self.busy)

    def answer(self, keys: list[bytes], size: int = 0, dataset: str = DATASET) -> None:
        """One read's GETs, with replies of so many bytes."""
        self.heat.skip -= len(keys) + (size >> WORK_SHIFT)
        if self.heat.skip < 0:
            self.heat.note(keys, dataset, 256)

    def window(self, share: float) -> None:
        """One window passes, in which the shard was busy for this share of it."""
        self.heat.load(DATASET)
        self.now += WINDOW
        self.busy += share * WINDOW


def partition(key: bytes) -> int:
    return slot(key) >> 6


def test_a_hot_partition_is_told_with_its_part_of_the_time() -> None:
    hands = Hands()
    hands.window(0.9)
    for key in KEYS * 20:
        hands.answer([key])
        hands.answer([HOT])
    load = hands.heat.load(DATASET)
    assert load.busy == 90
    assert [at for at, _ in load.parts] == [partition(HOT)]
    assert load.parts[0][1] == pytest.approx(45, abs=9)
    assert hands.heat.load(OTHER) == Load(90)


def test_even_keys_make_no_partition_hot() -> None:
    hands = Hands()
    hands.window(1.0)
    for start in range(0, 100 * len(KEYS), 16):
        at = start % len(KEYS)
        hands.answer(KEYS[at : at + 16])
    assert hands.heat.load(DATASET) == Load(100)


def test_large_values_count_for_what_they_cost() -> None:
    hands = Hands()
    hands.window(1.0)
    for key in KEYS * 5:
        hands.answer([key])
        hands.answer([HOT], 50 << WORK_SHIFT)
    assert dict(hands.heat.load(DATASET).parts)[partition(HOT)] >= 90


def test_what_is_told_is_of_the_last_window_alone() -> None:
    hands = Hands()
    for _ in range(100):
        hands.answer(100 * [HOT])
    hands.window(0.5)
    assert hands.heat.load(DATASET) == Load(50, ((partition(HOT), 50),))
    hands.now += WINDOW / 2
    assert hands.heat.load(DATASET) == Load(50, ((partition(HOT), 50),)), "the next window is not over"
    hands.now += WINDOW / 2
    assert hands.heat.load(DATASET) == Load(0)


def test_of_a_handful_of_requests_nothing_is_told() -> None:
    hands = Hands()
    hands.window(1.0)
    for _ in range(SAMPLES):
        hands.answer([HOT])
    assert hands.heat.load(DATASET) == Load(100)


def test_a_thread_that_works_is_busy_for_as_long() -> None:
    before = busy_seconds()
    sum(range(2_000_000))
    assert 0.001 < busy_seconds() - before < 20


@pytest.mark.parametrize(
    ("request_", "work"),
    [
        (("GET", KEYS[0]), 1),
        (("GET", KEYS[1]), 1 + 5),
        (("MGET", KEYS[0]), 1),
        (("MGET", KEYS[1]), 1 + 5),
        (("MGET", KEYS[0], KEYS[1]), 2 + 5),
        (("PIECE", KEYS[2], 0, 8 << WORK_SHIFT), 1 + 8),
        (("GET", KEYS[2]), 1 + 100),
        (("MGET", KEYS[2]), 1 + 100),
    ],
)
async def test_each_way_of_asking_counts_as_work(
    request_: tuple[bytes | str | int, ...], work: int, tmp_path: Path
) -> None:
    values = {KEYS[0]: b"", KEYS[1]: bytes(5 << WORK_SHIFT), KEYS[2]: bytes(100 << WORK_SHIFT)}
    async with serving(
        pack_pairs(tmp_path, {key: value.replace(bytes(1), b"v") for key, value in values.items()})
    ) as served:
        client = await served.connect()
        await client(*request_)
        served.state.heat.skip = before = 10_000
        await client(*request_)
        assert before - served.state.heat.skip == work
