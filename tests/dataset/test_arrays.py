"""Arrays between NumPy and Arrow, and what must not be loaded for them."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from ringkv.dataset.arrays import bytes_to_arrow, to_arrow, to_bytes, to_numpy
from tests.support.data import EXAMPLE

PACK = """
import sys
from pathlib import Path
from ringkv.dataset.dataset import Dataset
from ringkv.dataset.packing.local import pack

pack(Path(sys.argv[1]), Path(sys.argv[2]))
with Dataset.open(Path(sys.argv[2])) as dataset:
    dataset.blocks_of(0)
print("pandas" in sys.modules)
"""


@pytest.mark.parametrize("kind", ["<u4", "<u8", "<i8"])
def test_numbers_come_back_as_they_went(kind: str) -> None:
    numbers = np.arange(10, dtype=kind)
    for array in (numbers, numbers[3:7], numbers[::2], numbers[:0]):
        assert to_arrow(array).to_pylist() == array.tolist()
        assert to_numpy(to_arrow(array)).tolist() == array.tolist()
        assert to_numpy(to_arrow(array)).dtype == array.dtype
    assert to_numpy(to_arrow(numbers).slice(2, 5)).tolist() == [2, 3, 4, 5, 6]


def test_bytes_of_one_size_are_a_column() -> None:
    assert bytes_to_arrow([b"ab", b"cd"], 2).equals(pa.array([b"ab", b"cd"], pa.binary(2)))
    assert bytes_to_arrow([], 2).to_pylist() == []
    items = [b"ab", b"cd", b"ef", b"gh"]
    assert to_bytes(bytes_to_arrow(items, 2)) == items
    assert to_bytes(bytes_to_arrow(items, 2).slice(1, 2)) == items[1:3]
    assert to_bytes(bytes_to_arrow([], 2)) == []


def test_neither_packing_nor_opening_loads_pandas(tmp_path: Path) -> None:
    """It takes half a second where it is installed, as it is here."""
    said = subprocess.run([sys.executable, "-c", PACK, EXAMPLE, tmp_path / "out"], capture_output=True, check=True)
    assert said.stdout == b"False\n"
    subprocess.run([sys.executable, "-c", "import pandas"], check=True)
