"""What the scenarios share: their two scales, the data, and the demands on all of them."""

import resource
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from ringkv.dataset.cache import dataset_path
from ringkv.dataset.generate import lines
from tests.chaos.result import Result
from tests.chaos.run import Run, Scale

FULL: Final = Scale(pairs=1_000_000, rate=2100, rounds=10, victims=3, hold=10.0, quiet=1.0, full=True)
SHORT: Final = Scale(pairs=5_000, rate=300, rounds=1, victims=1, hold=1.5, quiet=0.2, full=False)

BUILD: Final = Path(__file__).parents[2] / "build" / "chaos"
RESULTS: Final = BUILD / "results"

Report = Callable[..., None]
"""`report(name, title, run, longest=…, note=…, outage=…)`: the fields of a Result."""


@dataclass(frozen=True, slots=True)
class Data:
    """A data file, and what was packed from it."""

    text: Path
    packed: Path


@pytest.fixture(
    params=[
        pytest.param(SHORT, id="short"),
        pytest.param(FULL, id="full", marks=[pytest.mark.chaos, pytest.mark.timeout(600)]),
    ]
)
def scale(request: pytest.FixtureRequest) -> Scale:
    chosen: Scale = request.param
    return chosen


@pytest.fixture
def data(scale: Scale) -> Data:
    return make_data(scale.pairs, seed=7)


def make_data(pairs: int, seed: int) -> Data:
    """The data file of so many pairs, made when it is first needed and kept in the build folder."""
    BUILD.mkdir(parents=True, exist_ok=True)
    text = BUILD / f"{pairs}-{seed}.data"
    if not text.exists():
        unfinished = text.with_suffix(f".{id(text)}")
        with unfinished.open("wb") as file:
            file.writelines(lines(pairs, seed))
        unfinished.rename(text)
    return Data(text, dataset_path(text, cache_dir=BUILD))


@pytest.fixture(autouse=True)
def many_open_files() -> Iterator[None]:
    """As many connections as the machine allows, for all processes that are started from here."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def report(scale: Scale) -> Report:
    """Write the result down, whatever it is, and then demand what every scenario promises."""

    def judge(name: str, title: str, run: Run, longest: float | None = None, note: str = "", **more: bool) -> None:
        measured = run.result
        result = Result(name, title, measured, run.marks, longest, note=note, **more)
        if scale.full:
            result.write(RESULTS / name)
        assert measured.wrong == 0
        assert result.broken == 0
        if scale.full:
            assert measured.rate >= 2000
            assert longest is None or measured.longest <= longest

    return judge
