"""The figures as pictures: a PNG for those who print, an SVG for the documentation."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, ScalarFormatter

from bench.direct import QUANTITIES, SHARDS
from bench.figures import RINGKV, Figures
from bench.redis import CONNECTIONS

OURS: Final = "tab:red"
THEIRS: Final = ("tab:blue", "tab:orange", "tab:green", "tab:purple", "tab:brown", "tab:gray")


def write_pictures(figures: Figures, folder: Path) -> list[str]:
    """The names of the pictures, of those that something was measured for."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, quantity, draw in PICTURES:
        if not figures.subjects(quantity):
            continue
        with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "ringkv"}):
            figure = draw(figures)
            figure.savefig(folder / f"{name}.png", dpi=80, pil_kwargs={"optimize": True})
            figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
        written.append(name)
    return written


def _throughput(figures: Figures) -> Figure:
    figure, axes = _figure("Requests a second over the number of connections: more is better")
    subjects = figures.subjects("rate")
    points = figures.points(subjects[0], "rate")
    width = 0.8 / len(subjects)
    for number, subject in enumerate(subjects):
        heights = [figures.median(subject, "rate", at) or 0 for at in points]
        places = [place - 0.4 + (number + 0.5) * width for place in range(len(points))]
        axes.bar(places, heights, 0.9 * width, color=_colour(figures, subject), label=subject)
    axes.set_xticks(range(len(points)), [str(at) for at in points])
    axes.set_xlabel("connections")
    axes.set_ylabel("requests/s")
    return _with_legend(figure)


def _direct(figures: Figures) -> Figure:
    figure = Figure(figsize=(10, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    bars = [
        (f"{subject}, pipelines of {depth}" if depth > 1 else subject, subject, name)
        for depth, name in QUANTITIES.items()
        for subject in figures.subjects(f"{name} rate")
    ][::-1]
    colours = [OURS if subject == SHARDS else "tab:blue" for _, subject, _ in bars]
    for axes, title, quantity, scale, form in (
        (left, f"GETs/s, {CONNECTIONS} connections: more is better", "rate", 1.0, "{:,.0f}"),
        (right, "CPU µs a GET: less is better", "cpu", 1e6, "{:.1f}"),
    ):
        values = [scale * _value(figures, subject, f"{name} {quantity}", CONNECTIONS) for _, subject, name in bars]
        drawn = axes.barh([text for text, _, _ in bars], values, color=colours)
        axes.bar_label(drawn, fmt=form, padding=3, fontsize="small")
        axes.margins(x=0.2)
        axes.set_title(title, fontsize="medium", loc="left")
    right.set_yticklabels([])
    return figure


def _latency(figures: Figures) -> Figure:
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for axes, quantity in ((left, "p50"), (right, "p99")):
        for subject in figures.subjects(quantity):
            points = figures.points(subject, quantity)
            values = [1e3 * (figures.median(subject, quantity, at) or 0) for at in points]
            axes.plot(points, values, "o-", color=_colour(figures, subject), label=subject, markersize=4)
        _logarithmic(axes, points)
        axes.set_xlabel("connections")
        axes.set_ylabel(f"{quantity}, ms")
        axes.grid(visible=True, alpha=0.3)
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize="small")
    figure.suptitle("Latency over the number of connections: less is better", x=0.01, ha="left", fontsize="medium")
    return figure


def _open(figures: Figures) -> Figure:
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    shares = figures.points(RINGKV, "open rate")
    names = {"p50": "p50", "p99": "p99", "p999": "p99.9"}
    subjects = figures.subjects("open rate")
    width = 0.8 / len(subjects)
    for axes, share in zip(figure.subplots(1, len(shares), sharey=True, squeeze=False)[0], shares, strict=True):
        for number, subject in enumerate(subjects):
            values = [1e3 * _value(figures, subject, f"open {name}", share) for name in names]
            places = [place - 0.4 + (number + 0.5) * width for place in range(len(names))]
            bars = axes.bar(places, values, 0.9 * width, color=OURS if subject == RINGKV else THEIRS[0], label=subject)
            axes.bar_label(bars, fmt="%.2f", padding=2, fontsize="small")
        axes.set_yscale("log")
        axes.margins(y=0.15)
        axes.set_xticks(range(len(names)), list(names.values()))
        asked = _value(figures, RINGKV, "open asked", share)
        axes.set_title(f"{asked:,.0f} requests/s, {share} % of the most", fontsize="medium", loc="left")
    figure.axes[0].set_ylabel("ms")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    figure.suptitle("Latency at a fixed rate: less is better", x=0.01, ha="left", fontsize="medium")
    return figure


def _cost(figures: Figures) -> Figure:
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    subjects = figures.subjects("cpu")[::-1]
    at = 64 if 64 in figures.points(RINGKV, "cpu") else max(figures.points(subjects[0], "cpu"))
    colours = [_colour(figures, subject) for subject in subjects]
    for axes, title, values, form in (
        (left, f"CPU µs a request, {at} connections", [1e6 * _value(figures, s, "cpu", at) for s in subjects], "%.1f"),
        (right, "memory of all processes (PSS), MB", [_value(figures, s, "pss") / 1e6 for s in subjects], "%.0f"),
    ):
        bars = axes.barh(subjects, values, color=colours)
        axes.bar_label(bars, fmt=form, padding=3, fontsize="small")
        axes.margins(x=0.15)
        axes.set_title(title, fontsize="medium", loc="left")
    return figure


def _packing(figures: Figures) -> Figure:
    figure, axes = _figure("Seconds to pack, sort or load the same pairs: less is better", height=2.4)
    subjects = figures.subjects("pack")[::-1]
    at = max(figures.points(RINGKV, "pack"))
    values = [_value(figures, subject, "pack", at) for subject in subjects]
    names = ["ringkv pack" if subject == RINGKV else subject for subject in subjects]
    bars = axes.barh(names, values, color=[_colour(figures, subject) for subject in subjects])
    axes.bar_label(bars, fmt="%.2f s", padding=3, fontsize="small")
    axes.margins(x=0.1)
    return figure


def _growth(figures: Figures) -> Figure:
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    lines = (("lookup growth", "a lookup"), ("cpu by pairs", "CPU a request"))
    for number, (quantity, label) in enumerate(lines):
        _line(left, figures, quantity, label, (OURS, "tab:blue")[number])
    _line(right, figures, "cpu by shards", "CPU a request", "tab:blue")
    left.set_xscale("log")
    right.set_xscale("log", base=2)
    for axes, name in ((left, "pairs"), (right, "shards")):
        axes.set_xlabel(name)
        axes.set_ylabel("µs")
        axes.set_ylim(0, None)
        axes.legend(frameon=False, fontsize="small")
        axes.grid(visible=True, alpha=0.3)
    right.set_xticks(points := figures.points(RINGKV, "cpu by shards"), [str(at) for at in points])
    figure.suptitle(
        "What a lookup and a request cost as the data and the cluster grow", x=0.01, ha="left", fontsize="medium"
    )
    return figure


PICTURES: Final[tuple[tuple[str, str, Callable[[Figures], Figure]], ...]] = (
    ("throughput", "rate", _throughput),
    ("direct", "direct rate", _direct),
    ("latency", "p50", _latency),
    ("open", "open rate", _open),
    ("cost", "cpu", _cost),
    ("packing", "pack", _packing),
    ("growth", "cpu by pairs", _growth),
)
"""Name, the quantity without which there is no such picture, and who draws it."""


def _line(axes: Axes, figures: Figures, quantity: str, label: str, colour: str) -> None:
    points = figures.points(RINGKV, quantity)
    axes.plot(points, [1e6 * _value(figures, RINGKV, quantity, at) for at in points], "o-", color=colour, label=label)


def _figure(title: str, height: float = 4.2) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(10, height), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", fontsize="medium")
    return figure, figure.subplots()


def _with_legend(figure: Figure) -> Figure:
    figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize="small")
    return figure


def _logarithmic(axes: Axes, points: list[int]) -> None:
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(points)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(ScalarFormatter())
        axis.set_minor_formatter(NullFormatter())


def _value(figures: Figures, subject: str, quantity: str, at: int = 0) -> float:
    return figures.median(subject, quantity, at) or 0.0


def _colour(figures: Figures, subject: str) -> str:
    if subject == RINGKV:
        return OURS
    others = list(dict.fromkeys(name for name, quantity, _ in figures.samples if name != RINGKV and quantity == "rate"))
    return THEIRS[others.index(subject) % len(THEIRS)] if subject in others else "tab:blue"
