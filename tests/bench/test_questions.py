"""The pictures of docs/questions.md say what is true, and can be drawn by anybody."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from bench import questions
from bench.figures import RINGKV, Figures
from ringkv.dataset.packing.local import pack
from tests.support.data import ROOT


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """What `python -m bench` leaves behind, as far as the pictures look at it."""
    figures = Figures()
    for at in (1, 64):
        for subject in (RINGKV, questions.FLOOR):
            for quantity, value in (("rate", 1000.0 * at), ("p50", 1e-4 * at), ("p99", 1e-3 * at)):
                figures.add(subject, quantity, value, at)
    figures.write(tmp_path / "results" / "serve.json")
    return tmp_path


def draw(work: Path, docs: Path) -> str:
    result = CliRunner().invoke(questions.main, ["--work", str(work), "--docs", str(docs)], catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "chaos.md").write_text((ROOT / "docs" / "chaos.md").read_text("utf-8"), encoding="utf-8")
    return folder


def test_every_picture_is_drawn_from_what_was_measured(work: Path, docs: Path, tmp_path: Path) -> None:
    pack(ROOT / "example.data", tmp_path / "10000.dataset")
    figures = Figures()
    figures.add("disk, 32 connections", "from disk", 40e-6)
    figures.write(work / "results" / "disk.json")
    assert not draw(work, docs)
    assert {path.stem for path in (docs / "questions").iterdir()} == set(questions.PICTURES)
    first = {path: path.read_bytes() for path in (docs / "questions").iterdir()}
    draw(work, docs)
    assert first == {path: path.read_bytes() for path in (docs / "questions").iterdir()}


def test_what_was_not_measured_keeps_its_picture(docs: Path, tmp_path: Path) -> None:
    (docs / "questions").mkdir()
    (docs / "questions" / "wait.svg").write_text("older")
    assert "wait: left as it is" in draw(tmp_path / "nothing", docs)
    assert (docs / "questions" / "wait.svg").read_text() == "older"
