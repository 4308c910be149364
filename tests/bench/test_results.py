"""A report is of one commit and one machine, begins anew when all is measured, and says what was not."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bench.__main__ import main
from bench.errors import BenchmarkFailed
from bench.figures import RINGKV, Figures
from bench.origin import Origin, here
from bench.results import STEPS, Results

OLD = Origin("0123456789", "2 processors", "2026-11-01 08:12", "2026-11-01 08:30")
NEW = here("2026-11-29 09:00")


def keep(work: Path, step: str, origin: Origin) -> None:
    figures = Figures(origins={step: origin})
    for quantity in ("rate", "p50", "p99", "cpu"):
        figures.add(RINGKV, quantity if step == "serve" else f"{step} {quantity}", 1000, 64)
    Results(work / "results", mixed=True).keep(step, figures)


def report(work: Path, *options: str) -> Result:
    return CliRunner().invoke(main, ["report", *options, "--work", str(work), "--docs", str(work)])


def test_each_part_says_of_what_it_is_and_the_report_what_it_lacks(tmp_path: Path) -> None:
    keep(tmp_path, "serve", OLD)
    assert report(tmp_path).exit_code == 0
    text = (tmp_path / "bench.md").read_text("utf-8")
    said = "*`serve`: 2026-11-01 08:12 to 08:30 UTC, commit 0123456789, on 2 processors.*"
    assert f"## Requests a second\n\n{said}\n\n| peer |" in text
    assert "| Growth | `python -m bench scaling` |" in text
    assert "| Large | `make large` |" in text
    assert "`python -m bench serve`" not in text


def test_figures_of_different_commits_are_not_mixed_unless_they_may_be(tmp_path: Path) -> None:
    keep(tmp_path, "serve", OLD)
    keep(tmp_path, "tls", NEW)
    refused = report(tmp_path)
    assert refused.exit_code == 1
    assert f"(serve: {OLD.place}; tls: {NEW.place})" in refused.output
    assert "`python -m bench` measures all again" in refused.output
    assert not (tmp_path / "bench.md").exists()
    assert report(tmp_path, "--mixed").exit_code == 0
    text = (tmp_path / "bench.md").read_text("utf-8")
    assert OLD.place in text
    assert NEW.place in text


def test_what_could_not_be_mixed_is_not_measured(tmp_path: Path) -> None:
    keep(tmp_path, "serve", OLD)
    options = ["--work", str(tmp_path), "--docs", str(tmp_path), "--pairs", "100"]
    refused = CliRunner().invoke(main, ["lookup", *options])
    assert refused.exit_code == 1
    assert "serve: commit 0123456789" in refused.output
    assert [path.name for path in tmp_path.iterdir()] == ["results"]


def test_a_step_that_is_measured_again_is_of_no_other_commit(tmp_path: Path) -> None:
    keep(tmp_path, "serve", OLD)
    results = Results(tmp_path / "results", mixed=False)
    results.admit(["serve"], NEW.place)
    with pytest.raises(BenchmarkFailed, match="this run: commit"):
        results.admit(["tls"], NEW.place)
    results.clear(NEW.place)
    results.admit(STEPS, NEW.place)
    assert not results.figures().samples


def test_what_takes_long_stays_when_all_else_is_measured_anew_at_the_same_place(tmp_path: Path) -> None:
    keep(tmp_path, "serve", OLD)
    keep(tmp_path, "disk", OLD)
    keep(tmp_path, "remote", NEW)
    Results(tmp_path / "results", mixed=False).clear(NEW.place)
    assert {path.name for path in (tmp_path / "results").iterdir()} == {"remote.json"}


def test_a_result_without_an_origin_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "serve.json").write_text('{"notes": {}, "missing": {}, "samples": []}')
    refused = report(tmp_path)
    assert refused.exit_code == 1
    assert "serve.json: does not say what it was measured with: remove it" in refused.output
