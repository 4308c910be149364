"""The report's tables of data beyond memory: what comes from the disk, and what a large dataset costs."""

from collections.abc import Sequence

from bench.figures import RINGKV, Figures

LOADS = {
    "cold": "32 connections, each key in a block that nobody has read",
    "hot": "hot keys meanwhile, on a connection of their own",
    "batch": "MGET of 100 cold keys at once, one connection",
    "memory": "the cold keys again, 32 connections",
    "mixed": "Zipf 0.99 over all keys, with memory for a quarter of them",
}


def from_disk(figures: Figures) -> list[Sequence[str]]:
    """What `python -m bench disk` has measured; the first row is the heading."""
    rows: list[Sequence[str]] = [("who", "load", "requests/s", "p50 ms", "p99 ms", "ringkv / this")]
    for quantity, load in LOADS.items():
        for subject in figures.subjects(f"{quantity} rate"):
            at = max(figures.points(subject, f"{quantity} rate"))
            rate, p50, p99 = (figures.median(subject, f"{quantity} {name}", at) for name in ("rate", "p50", "p99"))
            ratio = figures.ratio(f"{quantity} rate", RINGKV, subject, at) if subject != RINGKV else None
            waits = ("" if wait is None else f"{1e3 * wait:.2f}" for wait in (p50, p99))
            against = "" if ratio is None else f"{ratio:.2f}"
            rows.append((f"{subject}, {at:,} pairs", load, f"{rate:,.0f}", *waits, against))
    return rows


def at_size(figures: Figures) -> list[Sequence[str]]:
    """What `python -m bench large` has measured; the first row is the heading."""
    return _by_pairs(
        figures,
        ("large pack", "packed", "{:,.1f} s", 1.0),
        ("large resident", "resident while packing, all processes", "{:,.0f} MB", 1e-6),
        ("large bytes a key", "bytes a key beside its value", "{:.1f}", 1.0),
        ("large start warm", "`ringkv up` until the first answer, in memory", "{:.2f} s", 1.0),
        ("large start cold", "`ringkv up` until the first answer, from disk", "{:.2f} s", 1.0),
        ("large read", "`ringkv up` until all is read and checked, in memory", "{:.2f} s", 1.0),
        ("hot hits", "`Store.get`, a hot key that is there", "{:,.0f} ns", 1e9),
        ("hot misses", "`Store.get`, a key that is not there", "{:,.0f} ns", 1e9),
        ("large anonymous", "anonymous memory of the largest of 3 shards", "{:,.0f} MB", 1e-6),
        ("lost failed", "requests that failed, of 2,000/s from disk", "{:,.0f}", 1.0),
        ("lost longest", "the longest wait meanwhile", "{:,.0f} ms", 1e3),
    )


def from_store(figures: Figures) -> list[Sequence[str]]:
    """What `python -m bench remote` has measured; the first row is the heading."""
    return _by_pairs(
        figures,
        (
            "remote first answer",
            "from the router's first moment until a shard with an empty cache has answered",
            "{:.2f} s",
            1,
        ),
        ("remote miss p99", "p99 of a block that the store has to be asked for", "{:.1f} ms", 1e3),
        ("hydration", "until all is here", "{:.2f} s", 1),
        ("fetched beyond owned", "bytes fetched for each that is owned", "{:.2f}", 1),
        ("fetch requests", "in so many requests", "{:,.0f}", 1),
        ("warm p99 alone", "p99 of what is here", "{:.2f} ms", 1e3),
        ("warm p99 during hydration", "p99 of what is here, while the rest is fetched", "{:.2f} ms", 1e3),
        ("warm rate", "requests/s when all is here, 64 connections", "{:,.0f}", 1),
        ("fetched by a restart", "bytes that a restart fetches", "{:,.0f}", 1),
        ("fetched beyond moved", "bytes fetched for each that a fourth shard owns", "{:.2f}", 1),
    )


def _by_pairs(figures: Figures, *quantities: tuple[str, str, str, float]) -> list[Sequence[str]]:
    """A row for each quantity that was measured, by its text, form and scale; the first row is the heading."""
    rows: list[Sequence[str]] = [("what", "pairs", "measured")]
    for quantity, text, form, scale in quantities:
        for subject in figures.subjects(quantity):
            for at in figures.points(subject, quantity):
                found = figures.median(subject, quantity, at) or 0.0
                name = text if subject == RINGKV else f"{subject}: {text}"
                rows.append((name, f"{at:,}", form.format(scale * found)))
    return rows
