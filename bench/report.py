"""The figures as tables: for the terminal, and as the page docs/bench.md."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from bench.cells import HEADINGS, cells, number
from bench.criteria import promises
from bench.direct import QUANTITIES
from bench.extent import at_size, from_disk, from_store
from bench.figures import RINGKV, Figures
from bench.mget import BATCHES
from bench.openloop import at_fixed_rates
from bench.peers.all import PEERS
from bench.peers.cluster import RedisCluster
from bench.pictures import write_pictures
from bench.plan import foretold_and_measured
from bench.redis import CONNECTIONS, REDIS_PORT
from bench.results import STEPS
from bench.sizes import by_size
from bench.skew import by_draw
from bench.tls import with_tls

INTRODUCTION: Final = """\
# Measured

Written by `make bench`, which measures all of it in one go; each part says when, of which commit, and where. Everything
ran on one machine, on the loopback interface, in turn and interleaved; each figure is the median of its rounds, each
ratio that of two medians. In each round of requests all processes begin anew. `wrk` asks with one thread, which is one
of the machine's processors, for keys drawn evenly from a million that are in the data; answers of every peer were
compared with the data file first. *CPU* is the user and system time of all server processes, from `/proc/<pid>/stat`.
*others* is how many processors were busy with neither the server nor the client: much of it spoils a figure.
"""

CAPTIONS: Final = {
    "throughput": "Requests a second",
    "direct": "Shards asked directly",
    "latency": "Latency",
    "open": "Latency at a fixed rate",
    "cost": "What a request and the data cost",
    "packing": "Packing",
    "growth": "Growth",
}

Rows = list[Sequence[str]]
"""A table; the first row is its heading."""


@dataclass(frozen=True, slots=True)
class Part:
    """A table, the steps that bring its figures, and what one has to know to read it."""

    title: str
    steps: tuple[str, ...]
    rows: Callable[[Figures], Rows]
    note: str = ""


def report(figures: Figures, docs: Path) -> None:
    """Print the tables; write DOCS/bench.md and the pictures in DOCS/bench/."""
    pictures = write_pictures(figures, docs / "bench")
    sections = list(_sections(figures))
    console = Console(width=160)
    for title, _, rows in sections:
        table = Table(*rows[0], title=title, title_justify="left")
        for row in rows[1:]:
            table.add_row(*row)
        console.print(table)
    text = [INTRODUCTION]
    text += ["\n\n".join([f"## {title}", *prose, _markdown(rows)]) + "\n" for title, prose, rows in sections]
    text += [f"## {CAPTIONS[name]}, drawn\n\n![{CAPTIONS[name]}](bench/{name}.svg)\n" for name in pictures]
    (docs / "bench.md").write_text("\n".join(text), encoding="utf-8")


def _sections(figures: Figures) -> Iterator[tuple[str, list[str], Rows]]:
    """Titles, the paragraphs before the tables, and those."""
    yield "Promises", [], [("promise", "measured", "wanted", ""), *promises(figures)]
    for part in PARTS:
        if len(rows := part.rows(figures)) > 1:
            yield part.title, [*([part.note] if part.note else []), *_origins(part, figures)], rows
    peers = [*((peer.name, peer.setup) for peer in PEERS), (RedisCluster.name, RedisCluster.setup)]
    yield "Who was measured", [], [("peer", "how it was set up"), *peers]
    if len(rows := _left_out(figures)) > 1:
        yield "Not measured", [NOT_MEASURED], rows
    if figures.missing:
        missing = [(name, ", ".join(packages)) for name, packages in figures.missing.items()]
        yield "Not installed", [], [("peer", "packages that bring it, Debian's where nothing else is said"), *missing]
    yield "The machine", [], [("what", "which"), *figures.notes.items()]


def _origins(part: Part, figures: Figures) -> list[str]:
    found = [(step, figures.origins[step]) for step in part.steps if step in figures.origins]
    return [f"*`{step}`: {origin}.*" for step, origin in found]


def _left_out(figures: Figures) -> Rows:
    steps: dict[str, list[str]] = {}
    for part in PARTS:
        for step in part.steps:
            if step not in figures.origins:
                steps.setdefault(step, []).append(part.title)
    rows: Rows = [("part", "measured by")]
    for step, titles in steps.items():
        command = f"python -m bench {step}" if step in STEPS else OTHER_COMMANDS[step]
        rows.append((", ".join(titles), f"`{command}`"))
    return rows


def _rates(figures: Figures) -> Rows:
    points = figures.points(RINGKV, "rate")
    rows: Rows = [("peer", *(_connections(at) for at in points))]
    for subject in figures.subjects("rate"):
        rows.append((subject, *(number(figures.median(subject, "rate", at), "{:,.0f}") for at in points)))
    return rows


def _ratios(figures: Figures) -> Rows:
    points = figures.points(RINGKV, "rate")
    rows: Rows = [("of", *(_connections(at) for at in points))]
    for subject in figures.subjects("rate"):
        if subject != RINGKV:
            ratios = (figures.ratio("rate", RINGKV, subject, at) for at in points)
            rows.append((subject, *(number(ratio, "{:.2f}x") for ratio in ratios)))
    return rows


def _details(figures: Figures) -> Rows:
    rows: Rows = [("peer", "connections", *HEADINGS)]
    for subject in figures.subjects("rate"):
        for at in figures.points(RINGKV, "rate"):
            rows.append((subject, str(at), *cells(figures, subject, "{}", at)))
    return rows


def _together(figures: Figures) -> Rows:
    rows: Rows = [("what", "keys/s", "CPU µs a key")]
    for subject in figures.subjects("keys a second"):
        found = figures.median(subject, "keys a second"), figures.median(subject, "cpu a key")
        title = subject if subject == BATCHES else f"{subject} over HTTP, in turn with batches"
        rows.append((title, number(found[0], "{:,.0f}"), number(found[1], "{:.1f}", 1e6)))
    for subject in figures.subjects("port rate"):
        # What processes use is counted with what the client of pipelines asks beforehand.
        title = subject if subject == REDIS_PORT else f"{subject}, in turn with pipelines"
        rows.append((title, number(figures.median(subject, "port rate", CONNECTIONS), "{:,.0f}"), ""))
    return rows


def _direct(figures: Figures) -> Rows:
    rows: Rows = [("what", "connections", "pipelines of", *HEADINGS)]
    for depth, name in QUANTITIES.items():
        for subject in figures.subjects(f"{name} rate"):
            for at in figures.points(subject, f"{name} rate"):
                rows.append((subject, str(at), str(depth), *cells(figures, subject, f"{name} {{}}", at)))
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
            (f"serving, PSS of all processes: {subject}", number(figures.median(subject, "pss"), "{:,.1f}", 1e-6))
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
                rows.append((f"{name}, {at:,} pairs", number(figures.median(subject, quantity, at), form, scale)))
    for at in figures.points(RINGKV, "pack growth"):
        seconds = number(figures.median(RINGKV, "pack growth", at), "{:.2f} s")
        resident = number(figures.median(RINGKV, "pack resident", at), "{:,.0f} MB", 1e-6)
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
                    number(lookup, "{:,.0f}", 1e9),
                    number(figures.median(RINGKV, f"cpu {axis}", at), "{:.1f}", 1e6),
                    number(figures.median(RINGKV, f"p50 {axis}", at), "{:.3f}", 1e3),
                    number(figures.median(RINGKV, f"rate {axis}", at), "{:,.0f}"),
                )
            )
    return rows


def _connections(at: int) -> str:
    return f"{at} connection{'s' if at > 1 else ''}"


def _markdown(rows: Rows) -> str:
    lines = [f"| {' | '.join(cells)} |" for cells in rows]
    numeric = ["---", *["---:"] * (len(rows[0]) - 1)]
    return "\n".join([lines[0], f"| {' | '.join(numeric)} |", *lines[1:]])


OTHER_COMMANDS: Final = {
    "disk": "python -m bench disk DATASET",
    "large": "make large",
    "remote": "make remote",
    "plan": "python -m bench plan",
}

NOT_MEASURED: Final = "These add to the report, if it is of the same commit and machine."

PARTS: Final = (
    Part("Requests a second", ("serve",), _rates),
    Part("ringkv's requests a second, as a multiple", ("serve",), _ratios),
    Part("All of it", ("serve",), _details),
    Part(
        "At a fixed rate",
        ("open",),
        at_fixed_rates,
        "An open loop: 64 connections ask by a schedule, whether or not answers come, and a latency counts from when\n"
        "its request was due (no coordinated omission). The most is ringkv's median with `wrk` at 64 connections.",
    ),
    Part(
        "Values of different sizes",
        ("sizes",),
        by_size,
        "64 connections; as many pairs of each size as have the same bytes of values. The router would keep so few:\n"
        "ringkv has `--hot-memory 0`. nginx has `memcached_buffer_size 32k`.",
    ),
    Part("Keys that are asked for unevenly", ("skew",), by_draw, "64 connections."),
    Part("Batches and pipelines", ("mget", "redis"), _together),
    Part("Shards asked directly", ("cluster",), _direct),
    Part("Memory for the same pairs", ("memory", "serve"), _memory),
    Part("Start, pack, look up", ("startup", "pack", "lookup", "growth"), _times),
    Part("Growth", ("scaling",), _growth),
    Part("With TLS, 64 connections", ("tls",), with_tls),
    Part("From disk", ("disk",), from_disk),
    Part("Large", ("large",), at_size),
    Part("From a store", ("remote",), from_store),
    Part(
        "Foretold by `ringkv plan --here`",
        ("plan",),
        foretold_and_measured,
        "Each time on this machine, foretold just before it was measured.",
    ),
)
