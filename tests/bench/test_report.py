"""The report: medians, ratios, and promises that are kept, missed or not measured, all of them visible."""

from pathlib import Path

from click.testing import CliRunner

from bench.__main__ import main
from bench.criteria import CRITERIA, NGINX, promises
from bench.figures import RINGKV, Figures


def figures(ours: float, theirs: float) -> Figures:
    made = Figures()
    for connections in (1, 16, 64, 256):
        for noise in (0.5, 1.0, 1.1):
            for quantity in ("rate", "p50", "p99", "cpu"):
                made.add(RINGKV, quantity, noise * ours, connections)
                made.add(NGINX, quantity, noise * theirs, connections)
    return made


def test_a_ratio_is_that_of_medians() -> None:
    made = figures(3, 2)
    assert made.median(RINGKV, "rate", 64) == 3
    assert made.ratio("rate", RINGKV, NGINX, 64) == 1.5
    assert made.ratio("rate", RINGKV, "nobody", 64) is None
    assert made.points(NGINX, "rate") == [1, 16, 64, 256]


def test_what_was_written_is_what_is_read(tmp_path: Path) -> None:
    made = figures(3, 2)
    made.notes["Python"] = "3"
    made.missing["x"] = ["y"]
    made.write(tmp_path / "deep" / "step.json")
    again = Figures()
    again.read(tmp_path / "deep" / "step.json")
    assert again == made


def test_a_promise_that_is_missed_is_shown() -> None:
    found = {text: rest for text, *rest in promises(figures(3, 2))}
    assert found[f"requests/s against {NGINX}, 16 connections"] == ["1.5x", "≥ 1x", "pass"]
    assert found[f"requests/s against {NGINX}, 256 connections"] == ["1.5x", "≥ 2x", "FAIL"]
    assert found[f"p99 against {NGINX}, 64 connections"] == ["1.5x", "≤ 1x", "FAIL"]
    assert found["packing against `LC_ALL=C sort`"] == ["", "≤ 2x", "not measured"]
    assert len(found) == len(CRITERIA)


def test_the_report_has_tables_and_small_pictures(tmp_path: Path) -> None:

    results = tmp_path / "results"
    made = figures(3, 2)
    made.missing["HAProxy + 3 shards"] = ["haproxy"]
    made.write(results / "serve.json")
    done = CliRunner().invoke(main, ["report", "--work", str(tmp_path), "--docs", str(tmp_path)])
    assert done.exit_code == 0, done.output
    text = (tmp_path / "bench.md").read_text(encoding="utf-8")
    assert "| 1.5x | ≥ 2x | FAIL |" in text
    assert "| HAProxy + 3 shards | haproxy |" in text
    for name in ("throughput", "latency", "cost"):
        assert f"](bench/{name}.svg)" in text
        for kind in ("png", "svg"):
            assert 1000 < (tmp_path / "bench" / f"{name}.{kind}").stat().st_size < 150_000
