"""Attacks beside a polite client: none of its requests fails, and memory stays in its budget. `make attacks`: all."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from ringkv.process.sizes import parse_size
from tests.attacks.beside import Attacked, beside
from tests.attacks.peers import MEMORY, ringkv

SECONDS: Final = 2.0


@pytest.fixture(scope="module")
def attacked(cache: Path) -> Iterator[Attacked]:
    with ringkv(cache) as started:
        yield started


@pytest.mark.parametrize("attack", ["huge", "small", "halves", "slow", "idle", "counts", "costly", "nonsense"])
def test_a_polite_client_is_served_and_memory_stays_in_its_budget(attacked: Attacked, attack: str) -> None:
    outcome = beside(attacked, [attack], SECONDS)
    assert outcome.failures == 0, outcome
    assert max(outcome.memory.values()) <= parse_size(MEMORY) * 1.1, outcome
