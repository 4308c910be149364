"""The pictures of docs/questions.md, from what `python -m bench` and `make chaos` have measured.

python -m bench.questions        writes docs/questions/*.svg; what was not measured has no picture
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

import click
import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, ScalarFormatter

from bench.figures import RINGKV, Figures
from ringkv.cluster.limits import LOAD_BOUND
from ringkv.sizing import Data

FLOOR: Final = "nginx return 200"
VALUE: Final = 60
"""Bytes of a value."""


def size(work: Path, _docs: Path) -> Figure | None:
    """The file and a shard's part of it, computed; the datasets that `python -m bench` has packed, measured."""
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    axes = figure.subplots()
    pairs = [10**exponent for exponent in range(4, 11)]
    sizes = [Data(at, at * VALUE) for at in pairs]
    axes.plot(pairs, [data.text / 1e9 for data in sizes], "--", color="tab:gray", label="data file")
    axes.plot(pairs, [data.dataset / 1e9 for data in sizes], color="tab:red", label="dataset")
    for shards, colour in ((3, "tab:blue"), (10, "tab:green"), (100, "tab:purple")):
        held = [LOAD_BOUND * data.dataset / shards / 1e9 for data in sizes]
        axes.plot(pairs, held, color=colour, linewidth=1, label=f"largest of {shards} shards, one replica")
    packed = [path for path in work.glob("*.dataset") if path.stem.isdigit()]
    measured = sorted((int(path.stem), sum(file.stat().st_size for file in path.iterdir())) for path in packed)
    if measured:
        axes.plot(
            *zip(*((at, found / 1e9) for at, found in measured), strict=True), "o", color="black", label="measured"
        )
    axes.axhline(8 * 2**30 / 1e9, color="tab:orange", linestyle=":", label="8 GiB of memory")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel(f"pairs, values of {VALUE} bytes")
    axes.set_ylabel("GB")
    axes.grid(visible=True, alpha=0.3)
    figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize="small")
    figure.suptitle("What the data takes: lines are computed, dots measured", x=0.01, ha="left", fontsize="medium")
    return figure


def wait(work: Path, _docs: Path) -> Figure | None:
    """How long clients wait as there are more of them, beside a server that looks nothing up, and Little's law."""
    figures = _measured(work, "serve")
    points = figures.points(RINGKV, "rate")
    if not points:
        return None
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    mean = [1e3 * at / (figures.median(RINGKV, "rate", at) or 1) for at in points]
    left.plot(points, mean, ":", color="black", label="connections ÷ rate: Little's law")
    for subject, name, colour in ((RINGKV, "ringkv", "tab:red"), (FLOOR, "nginx return 200", "tab:gray")):
        rates = [(figures.median(subject, "rate", at) or 0) / 1e3 for at in points]
        for quantity, style in (("p50", "o-"), ("p99", "o--")):
            values = [1e3 * (figures.median(subject, quantity, at) or 0) for at in points]
            left.plot(points, values, style, color=colour, markersize=4, label=f"{name}, {quantity}")
            if quantity == "p50":
                right.plot(rates, values, style, color=colour, markersize=4)
                for at, x, y in zip(points, rates, values, strict=True):
                    right.annotate(str(at), (x, y), textcoords="offset points", xytext=(5, 4), fontsize="small")
    left.set_xscale("log", base=2)
    left.set_xticks(points, [str(at) for at in points])
    left.set_xlabel("connections")
    left.set_ylabel("ms")
    right.set_xlabel("thousand requests/s; at each point its connections")
    right.set_ylabel("p50, ms")
    for axes in (left, right):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(ScalarFormatter())
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.grid(visible=True, alpha=0.3)
    figure.legend(loc="outside lower center", ncols=5, frameon=False, fontsize="small")
    figure.suptitle("What a client waits, over load", x=0.01, ha="left", fontsize="medium")
    return figure


def disk(work: Path, _docs: Path) -> Figure | None:
    """One lookup in a shard, from the caches to the disk."""
    figures = _measured(work, "disk", "scaling")
    ways = figures.subjects("from disk")
    if not ways:
        return None
    found = [
        (f"in memory, {at:,} pairs", figures.median(RINGKV, "lookup growth", at) or 0.0)
        for at in figures.points(RINGKV, "lookup growth")
    ]
    found += [(f"from {way}", figures.median(way, "from disk") or 0.0) for way in ways if way != "memory"]
    return _bars("One lookup in a shard, µs (mean)", [(name, 1e6 * seconds) for name, seconds in found], "%.3g")


def faults(_work: Path, docs: Path) -> Figure | None:
    """The longest wait of each scenario of docs/chaos.md, which is where its table stands."""
    rows = [row.split("|")[1:-1] for row in (docs / "chaos.md").read_text("utf-8").splitlines() if row.startswith("| ")]
    names = [cell.strip() for cell in rows[0]]
    at = names.index("longest ms")
    waits = [(row[0].strip(), float(row[at])) for row in rows[2:] if re.fullmatch(r" *[0-9]+ *", row[at])]
    return _bars("The longest that any request waited while this was done, ms", waits, "%.0f")


PICTURES: Final[dict[str, Callable[[Path, Path], Figure | None]]] = {
    "size": size,
    "wait": wait,
    "disk": disk,
    "faults": faults,
}


@click.command()
@click.option("--work", type=click.Path(path_type=Path), default=Path("build/bench"), show_default=True)
@click.option("--docs", type=click.Path(path_type=Path), default=Path("docs"), show_default=True)
def main(work: Path, docs: Path) -> None:
    """Draw the pictures of DOCS/questions.md from WORK/results and DOCS/chaos.md."""
    folder = docs / "questions"
    folder.mkdir(parents=True, exist_ok=True)
    for name, draw in PICTURES.items():
        with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "ringkv"}):
            figure = draw(work, docs)
            if figure is None:
                click.echo(f"{name}: left as it is, because nothing of it was measured here")
                continue
            figure.savefig(folder / f"{name}.svg", metadata={"Date": None})


def _measured(work: Path, *steps: str) -> Figures:
    figures = Figures()
    for step in steps:
        path = work / "results" / f"{step}.json"
        if path.exists():
            figures.read(path)
    return figures


def _bars(title: str, found: list[tuple[str, float]], form: str) -> Figure:
    figure = Figure(figsize=(10, 0.9 + 0.32 * len(found)), layout="constrained")
    axes = figure.subplots()
    bars = axes.barh([name for name, _ in found][::-1], [value for _, value in found][::-1], color="tab:red")
    axes.bar_label(bars, fmt=form, padding=3, fontsize="small")
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.margins(x=0.1)
    figure.suptitle(title, x=0.01, ha="left", fontsize="medium")
    return figure


if __name__ == "__main__":
    main()
