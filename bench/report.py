"""The figures as tables: for the terminal, and as the page docs/bench.md."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from bench.criteria import promises
from bench.direct import QUANTITIES
from bench.extent import at_size, from_disk, from_store
from bench.figures import RINGKV, Figures
from bench.peers.all import PEERS
from bench.peers.cluster import RedisCluster
from bench.pictures import write_pictures
from bench.skew import DRAWS, WITHOUT
from bench.tls import with_tls

INTRODUCTION: Final = """\
# Measured

Written by `make bench`. Everything ran on one machine, on the loopback interface, in turn and interleaved; each
figure is the median of its rounds, each ratio that of two medians. `wrk` asks with one thread, which is one of the
machine's processors, for keys drawn evenly from a million that are in the data; answers of every peer were compared
with the data file first. *CPU* is the user and system time of all server processes, from `/proc/<pid>/stat`. *others*
is how many processors were busy with neither the server nor `wrk`: much of it spoils a figure.
"""

CAPTIONS: Final = {
    "throughput": "Requests a second",
    "direct": "Shards asked directly",
    "latency": "Latency",
    "cost": "What a request and the data cost",
    "packing": "Packing",
    "growth": "Growth",
}

MEASURED: Final = (
    ("rate", "{:,.0f}", 1.0),
    ("p50", "{:.3f}", 1e3),
    ("p99", "{:.3f}", 1e3),
    ("cpu", "{:.1f}", 1e6),
    ("others", "{:.2f}", 1.0),
    ("failed", "{:,.0f}", 1.0),
)
"""What a load brings: quantity, form, and how many of the form's units one of the quantity's is."""

Rows = list[Sequence[str]]
"""A table; the first row is its heading."""


def report(figures: Figures, docs: Path) -> None:
    """Print the tables; write DOCS/bench.md and the pictures in DOCS/bench/."""
    pictures = write_pictures(figures, docs / "bench")
    sections = list(_sections(figures))
    console = Console(width=160)
    for title, rows in sections:
        table = Table(*rows[0], title=title, title_justify="left")
        for row in rows[1:]:
            table.add_row(*row)
        console.print(table)
    text = [INTRODUCTION]
    text += [f"## {title}\n\n{_markdown(rows)}\n" for title, rows in sections]
    text += [f"## {CAPTIONS[name]}, drawn\n\n![{CAPTIONS[name]}](bench/{name}.svg)\n" for name in pictures]
    (docs / "bench.md").write_text("\n".join(text), encoding="utf-8")


def _sections(figures: Figures) -> Iterable[tuple[str, Rows]]:
    yield "Promises", [("promise", "measured", "wanted", ""), *promises(figures)]
    if figures.subjects("rate"):
        points = figures.points(RINGKV, "rate")
        yield "Requests a second", _by_connections(figures, "rate", points)
        yield "ringkv's requests a second, as a multiple", _ratios(figures, points)
        yield "All of it", _details(figures, points)
    for title, rows in (
        ("Shards asked directly", _direct(figures)),
        ("Keys that are asked for unevenly", _skewed(figures)),
        ("Memory for the same pairs", _memory(figures)),
        ("Start, pack, look up", _times(figures)),
        ("Growth", _growth(figures)),
        ("From disk", from_disk(figures)),
        ("Large", at_size(figures)),
        ("From a store", from_store(figures)),
        ("With TLS, 64 connections", with_tls(figures)),
    ):
        if len(rows) > 1:
            yield title, rows
    peers = [*((peer.name, peer.setup) for peer in PEERS), (RedisCluster.name, RedisCluster.setup)]
    yield "Who was measured", [("peer", "how it was set up"), *peers]
    if figures.missing:
        missing = [(name, ", ".join(packages)) for name, packages in figures.missing.items()]
        yield "Not installed", [("peer", "packages that bring it, Debian's where nothing else is said"), *missing]
    yield "The machine", [("what", "which"), *figures.notes.items()]


def _by_connections(figures: Figures, quantity: str, points: list[int]) -> Rows:
    rows: Rows = [("peer", *(_connections(at) for at in points))]
    for subject in figures.subjects(quantity):
        rows.append((subject, *(_number(figures.median(subject, quantity, at), "{:,.0f}") for at in points)))
    return rows


def _ratios(figures: Figures, points: list[int]) -> Rows:
    rows: Rows = [("of", *(_connections(at) for at in points))]
    for subject in figures.subjects("rate"):
        if subject != RINGKV:
            ratios = (figures.ratio("rate", RINGKV, subject, at) for at in points)
            rows.append((subject, *(_number(ratio, "{:.2f}x") for ratio in ratios)))
    return rows


def _details(figures: Figures, points: list[int]) -> Rows:
    headings = ("peer", "connections", "requests/s", "p50 ms", "p99 ms", "CPU µs a request", "others", "failed")
    rows: Rows = [headings]
    for subject in figures.subjects("rate"):
        for at in points:
            cells = [_number(figures.median(subject, quantity, at), form, scale) for quantity, form, scale in MEASURED]
            rows.append((subject, str(at), *cells))
    return rows


def _direct(figures: Figures) -> Rows:
    rows: Rows = [
        ("what", "connections", "pipelines of", "GETs/s", "p50 ms", "p99 ms", "CPU µs a GET", "others", "failed")
    ]
    for depth, name in QUANTITIES.items():
        for subject in figures.subjects(f"{name} rate"):
            for at in figures.points(subject, f"{name} rate"):
                cells = [
                    _number(figures.median(subject, f"{name} {quantity}", at), form, scale)
                    for quantity, form, scale in MEASURED
                ]
                rows.append((subject, str(at), str(depth), *cells))
    return rows


def _skewed(figures: Figures) -> Rows:
    rows: Rows = [("keys", "requests/s", f"requests/s, {WITHOUT}", "ratio", "p99 ms", "CPU µs a request")]
    for draw, text in DRAWS.items():
        quantity = f"rate {draw}"
        if (found := figures.median(RINGKV, quantity)) is not None:
            rows.append(
                (
                    text,
                    _number(found, "{:,.0f}"),
                    _number(figures.median(WITHOUT, quantity), "{:,.0f}"),
                    _number(figures.ratio(quantity, RINGKV, WITHOUT), "{:.2f}x"),
                    _number(figures.median(RINGKV, f"p99 {draw}"), "{:.3f}", 1e3),
                    _number(figures.median(RINGKV, f"cpu {draw}"), "{:.1f}", 1e6),
                )
            )
    return rows


def _memory(figures: Figures) -> Rows:
    rows: Rows = [("what", "MB")]
    for subject, quantity, text in (
        (RINGKV, "values", "the values alone"),
        (RINGKV, "packed file", "ringkv: the packed file, in the page cache once for all shards"),
        (RINGKV, "shards anonymous", "ringkv: anonymous memory of all shards, a page shared by n processes as 1/n"),
        (RINGKV, "shards anonymous, each", "ringkv: the same, shared pages counted in each"),
        (RINGKV, "held", "ringkv: packed file and anonymous memory of all shards"),
        (RINGKV, "held by the whole cluster", "ringkv: packed file, and anonymous memory of all, the router too"),
        ("Redis", "used", "Redis: used_memory"),
        ("Redis", "held", "Redis: used_memory_rss"),
        ("memcached", "held", "memcached: anonymous memory"),
    ):
        if (found := figures.median(subject, quantity)) is not None:
            rows.append((text, f"{found / 1e6:,.1f}"))
    for subject in figures.subjects("pss"):
        rows.append(
            (f"serving, PSS of all processes: {subject}", _number(figures.median(subject, "pss"), "{:,.1f}", 1e-6))
        )
    return rows


def _times(figures: Figures) -> Rows:
    rows: Rows = [("what", "time")]
    for quantity, text in (("start cold", "with an empty cache"), ("start warm", "with the packed file in the cache")):
        if (found := figures.median(RINGKV, quantity)) is not None:
            rows.append((f"`ringkv up` until the first answer, {text}", f"{found:.2f} s"))
    for quantity, form, scale in (("pack", "{:.2f} s", 1.0), ("lookup", "{:,.0f} ns", 1e9)):
        for subject in figures.subjects(quantity):
            name = {"pack": "`ringkv pack`", "lookup": "`Store.get`"}[quantity] if subject == RINGKV else f"`{subject}`"
            for at in figures.points(subject, quantity):
                rows.append((f"{name}, {at:,} pairs", _number(figures.median(subject, quantity, at), form, scale)))
    for at in figures.points(RINGKV, "pack growth"):
        seconds = _number(figures.median(RINGKV, "pack growth", at), "{:.2f} s")
        resident = _number(figures.median(RINGKV, "pack resident", at), "{:,.0f} MB", 1e-6)
        rows.append((f"`ringkv pack`, {at:,} pairs, {resident} resident at most", seconds))
    return rows


def _growth(figures: Figures) -> Rows:
    rows: Rows = [("", "lookup ns", "CPU µs a request", "p50 ms", "requests/s")]
    for axis, name in (("by pairs", "pairs"), ("by shards", "shards")):
        for at in figures.points(RINGKV, f"cpu {axis}"):
            lookup = figures.median(RINGKV, "lookup growth", at) if axis == "by pairs" else None
            rows.append(
                (
                    f"{at:,} {name}",
                    _number(lookup, "{:,.0f}", 1e9),
                    _number(figures.median(RINGKV, f"cpu {axis}", at), "{:.1f}", 1e6),
                    _number(figures.median(RINGKV, f"p50 {axis}", at), "{:.3f}", 1e3),
                    _number(figures.median(RINGKV, f"rate {axis}", at), "{:,.0f}"),
                )
            )
    return rows


def _connections(at: int) -> str:
    return f"{at} connection{'s' if at > 1 else ''}"


def _number(found: float | None, form: str, scale: float = 1.0) -> str:
    return "" if found is None else form.format(scale * found)


def _markdown(rows: Rows) -> str:
    lines = [f"| {' | '.join(cells)} |" for cells in rows]
    numeric = ["---", *["---:"] * (len(rows[0]) - 1)]
    return "\n".join([lines[0], f"| {' | '.join(numeric)} |", *lines[1:]])
