"""The results of a load as the cells of a row."""

from typing import Final

from bench.figures import Figures

_MEASURED: Final = (
    ("rate", "requests/s", "{:,.0f}", 1.0),
    ("p50", "p50 ms", "{:,.3f}", 1e3),
    ("p99", "p99 ms", "{:,.3f}", 1e3),
    ("p999", "p99.9 ms", "{:,.3f}", 1e3),
    ("cpu", "CPU µs a request", "{:.1f}", 1e6),
    ("others", "others", "{:.2f}", 1.0),
    ("failed", "failed", "{:,.0f}", 1.0),
)
"""Quantity, heading, format, and by what the quantity is multiplied for that."""

HEADINGS: Final = tuple(heading for _, heading, _, _ in _MEASURED)


def cells(figures: Figures, subject: str, name: str = "{}", at: int = 0) -> list[str]:
    """The medians under HEADINGS; `name` is the quantities' name with a place for what it is of, as `open {}`."""
    return [
        number(figures.median(subject, name.format(quantity), at), form, scale)
        for quantity, _, form, scale in _MEASURED
    ]


def number(found: float | None, form: str, scale: float = 1.0) -> str:
    """A figure as text; empty if it was not measured."""
    return "" if found is None else form.format(scale * found)
