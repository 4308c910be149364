"""The generator: the same for the same seed, and with all that a careless program would lose."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ringkv.dataset.generate import FIRST_LINES, lines
from ringkv.dataset.text import Columns, parse

EXAMPLE = Path(__file__).parents[2] / "example.data"


def test_the_example_is_what_the_generator_makes() -> None:
    made = subprocess.run([sys.executable, "-m", "ringkv.dataset.generate"], capture_output=True, check=True).stdout
    assert made == EXAMPLE.read_bytes()
    assert made.splitlines(keepends=True)[1] == b"f8a24bb8-eff8-41dc-929b-10b4c3e49e05 1234\n"
    assert len(made) < 1_500_000


@pytest.mark.parametrize("pairs", [0, 1, 3, 4, 100_003, 100_004])
def test_there_are_as_many_pairs_as_asked_for(pairs: int) -> None:
    columns = parse(b"".join(lines(pairs, 7)))
    assert isinstance(columns, Columns)
    assert len(np.unique(columns.positions)) == pairs


def test_values_can_be_large(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ringkv.dataset.generate", "--pairs", "50", "--value-size", "4096", "--output"]
    subprocess.run([*command, tmp_path / "data"], check=True)
    columns = parse((tmp_path / "data").read_bytes())
    assert isinstance(columns, Columns)
    assert columns.lengths.tolist() == [len(line) - 38 for line in FIRST_LINES] + [4096] * 47


def test_the_values_are_of_every_kind() -> None:
    values = [line.split(b" ", 1)[1] for line in b"".join(lines(20_000, 1)).split(b"\n")[:-1]]
    assert 50 < sum(map(len, values)) / len(values) < 70
    assert b"" in values
    assert any(value.endswith(b"\r") for value in values)
    assert any(b"   " in value for value in values)
    assert any("世界".encode() in value for value in values)
    assert any(b"\xff" in value for value in values)
