"""The rows of blocks.arrow: read for many partitions as for one, and no danger to who reads them."""

import os
import random
import re
import resource
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from ringkv.cluster.errors import CorruptBlock, InvalidDataset
from ringkv.dataset.dataset import Dataset
from ringkv.dataset.format import BLOCKS
from ringkv.shard.rows import proved_rows
from tests.support.data import random_keys
from tests.support.packed import pack_pairs


@pytest.fixture
def packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Some segments, with two blocks a partition."""
    monkeypatch.setattr("ringkv.cluster.position.MIN_BLOCKS", 1 << 15)
    return pack_pairs(tmp_path, {key: key for key in random_keys(20_000, seed=91)}, segment_size=400_000)


def test_the_rows_of_many_partitions_are_those_of_each(packed: Path) -> None:
    chooser = random.Random(1)
    with Dataset.open(packed) as dataset:
        assert len(dataset.segments) > 2
        for entry in dataset.manifest.segments:
            some = sorted(chooser.sample(range(entry.first, entry.last), 100))
            rows, wrong = dataset.blocks_of_all(some)
            assert not wrong
            for partition, own in zip(some, rows, strict=True):
                np.testing.assert_array_equal(own, dataset.blocks_of(partition))
        some = chooser.sample(range(dataset.manifest.partitions), 3_000)
        proved, largest = proved_rows(dataset, some)
        assert proved == {partition: dataset.blocks_of(partition).tobytes() for partition in some}
        assert largest == max(int(dataset.blocks_of(partition)["bytes"].max()) for partition in some)
        assert proved_rows(dataset, []) == ({}, 0)


def test_wrong_rows_are_those_of_their_partition_alone(packed: Path) -> None:
    with Dataset.open(packed) as dataset:
        partition = next(number for number in range(1_000, 2_000) if dataset.blocks_of(number)["keys"].all())
        first, second = (int(row["checksum"]).to_bytes(8, "little") for row in dataset.blocks_of(partition))
    table = (packed / BLOCKS).read_bytes()
    at = table.index(first + second)
    (packed / BLOCKS).write_bytes(table[:at] + bytes([table[at] ^ 1]) + table[at + 1 :])
    reason = f"the rows of partition {partition} in {BLOCKS} do not match their digest"
    with Dataset.open(packed) as dataset:
        with pytest.raises(CorruptBlock, match=reason):
            dataset.blocks_of(partition)
        proved, _ = proved_rows(dataset, range(dataset.manifest.partitions))
        wrong = {number: rows for number, rows in proved.items() if isinstance(rows, CorruptBlock)}
        assert list(wrong) == [partition]
        assert reason in str(wrong[partition])
        assert proved[partition + 1] == dataset.blocks_of(partition + 1).tobytes()


def test_a_table_that_is_cut_off_while_it_is_open_is_a_refusal_and_kills_nobody(packed: Path) -> None:
    with Dataset.open(packed) as dataset:
        dataset.blocks_of(0)
        os.truncate(packed / BLOCKS, 1_000)
        with pytest.raises(
            CorruptBlock, match=rf"partition 16383 in {BLOCKS} cannot be read: it ends too soon; pack the"
        ):
            dataset.blocks_of(16_383)
        assert dataset.extents_of(len(dataset.segments) - 1) is None


def test_a_table_for_which_there_is_no_file_is_not_called_damaged(packed: Path) -> None:
    Dataset.open(packed).close()  # what is loaded when it is first needed has been
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    said: set[str] = set()
    for limit in range(soft):  # others of this process are open, too
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
        try:
            Dataset.open(packed).close()
            break
        except InvalidDataset as error:
            said.add(str(error))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert any("arrow" in line for line in said)
    assert not [line for line in said if not re.search(r": cannot be (read|mapped): Too many open files$", line)]


def test_a_table_for_which_there_is_no_thread_is_not_called_damaged(
    packed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reason = "Unknown error: Failed to launch worker thread: Resource temporarily unavailable"

    def full(*_given: object) -> None:
        raise pa.ArrowException(reason)

    monkeypatch.setattr(pa.ipc, "open_file", full)
    with pytest.raises(InvalidDataset, match=rf"^{packed}/partitions\.arrow: cannot be read: {reason}$"):
        Dataset.open(packed)
