"""The time line of a scenario: what requests waited, with everything that was done to the cluster marked in it."""

from pathlib import Path
from typing import Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, ScalarFormatter

from tests.chaos.measured import Measured, Outcome
from tests.chaos.result import Result
from tests.chaos.run import Mark

BUCKETS: Final = 150
"""Points of a time line, at most: what a screen can show, and a file of a few tens of kilobytes."""


def write_picture(result: Result, folder: Path) -> None:
    """The same file for the same result."""
    folder.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "ringkv"}):
        figure = draw(result)
        figure.savefig(folder / f"{result.name}.svg", metadata={"Date": None})


def draw(result: Result) -> Figure:
    measured = result.measured
    start = float(measured.due.min())
    figure = Figure(figsize=(10, 4), layout="constrained")
    axes = figure.subplots()
    _draw_latencies(axes, measured, start)
    _draw_marks(axes, result.marks, start)
    if result.longest is not None:
        axes.axhline(1000 * result.longest, color="tab:red", linestyle="--", linewidth=1, label="demand")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(ScalarFormatter())
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_ylim(1, None)
    axes.set_xlim(0, float(measured.due.max()) - start)
    axes.set_xlabel("seconds")
    axes.set_ylabel("latency, ms")
    axes.grid(visible=True, axis="y", alpha=0.3)
    figure.legend(loc="outside upper right", ncols=6, frameon=False, fontsize="small")
    figure.suptitle(result.title, x=0.01, ha="left", fontsize="medium")
    return figure


def _draw_latencies(axes: Axes, measured: Measured, start: float) -> None:
    """p50, p99 and the longest wait of each bucket of time; failures as crosses."""
    order = np.argsort(measured.due)
    seconds = measured.due[order] - start
    milliseconds = 1000 * measured.latency[order]
    width = max(0.1, float(seconds[-1]) / BUCKETS)
    borders = np.searchsorted(seconds, np.arange(width, float(seconds[-1]), width))
    buckets = [bucket for bucket in np.split(milliseconds, borders) if len(bucket)]
    times = [float(bucket.mean()) for bucket in np.split(seconds, borders) if len(bucket)]
    for percent, colour in ((50, "tab:blue"), (99, "tab:orange")):
        values = [float(np.percentile(bucket, percent)) for bucket in buckets]
        axes.plot(times, values, color=colour, linewidth=1, label=f"p{percent}")
    axes.plot(times, [float(bucket.max()) for bucket in buckets], ".", color="black", markersize=3, label="longest")
    failed = np.flatnonzero(measured.outcome[order] != Outcome.RIGHT)
    if len(failed):
        shown = failed[:: max(1, len(failed) // BUCKETS)]
        axes.plot(seconds[shown], milliseconds[shown], "x", color="tab:red", markersize=4, label="refused")


def _draw_marks(axes: Axes, marks: list[Mark], start: float) -> None:
    few = len(marks) <= 12
    for mark in marks:
        back = mark.what.endswith(("back", "serve", "gone"))
        axes.axvline(mark.at - start, color="tab:green" if back else "tab:red", linewidth=0.8, alpha=0.7)
        if few:
            axes.annotate(
                mark.what,
                (mark.at - start, 0.98),
                xycoords=("data", "axes fraction"),
                rotation=90,
                va="top",
                ha="left" if back else "right",
                fontsize="x-small",
            )
