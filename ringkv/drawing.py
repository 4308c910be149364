"""Two rings side by side as an SVG: who owns which arc before a change and after it, and what moves between them.

  ╭─────────╮        the arcs are partitions in the order of the ring, from the top clockwise,
╭─╯  before ╰─╮      in the colour of their first owner; of the right ring an outer line marks
╰─╮         ╭─╯      those that have got an owner which they did not have
  ╰─────────╯
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from math import cos, pi, sin
from typing import Final

from ringkv.cluster.ring import Ring
from ringkv.process.words import counted

WIDTH: Final = 960
CENTRES: Final = (240, 720)
MIDDLE: Final = 250
RADIUS: Final = 160
THICKNESS: Final = 44
MARK: Final = 8
LEGEND_TOP: Final = 480
LEGEND_COLUMN: Final = 190
LEGEND_LINE: Final = 24

STYLE: Final = (
    "text{font:14px system-ui,sans-serif;fill:#222}.head{font-size:20px;text-anchor:middle}"
    ".note{text-anchor:middle;fill:#777}.moved{stroke:#222}"
    "@media(prefers-color-scheme:dark){text{fill:#eee}.note{fill:#aaa}.moved{stroke:#fff}}"
)


def drawing(before: Ring, after: Ring) -> str:
    """The document. Both rings have the same number of partitions; if they are one ring it is drawn once."""
    names = sorted({*before.names, *after.names}, key=lambda name: (len(name), name))
    colours = {name: _colour(number, len(names)) for number, name in enumerate(names)}
    columns = WIDTH // LEGEND_COLUMN
    height = LEGEND_TOP + LEGEND_LINE * -(-len(names) // columns)
    title = _shards(before) if after == before else f"{_shards(before)} → {_shards(after)}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        f"<title>{title}</title><style>{STYLE}</style>",
        *_ring(CENTRES[0], before, colours),
        *(_changed(before, after, colours) if after != before else []),
        *_legend(names, colours, columns),
        "</svg>\n",
    ]
    return "\n".join(parts)


def _changed(before: Ring, after: Ring, colours: dict[str, str]) -> Iterator[str]:
    moved = [bool(set(new).difference(old)) for old, new in zip(before.owners, after.owners, strict=True)]
    yield from _ring(CENTRES[1], after, colours)
    if arcs := _arcs(CENTRES[1], RADIUS + THICKNESS // 2 + MARK, moved):
        yield f'<path class="moved" d="{arcs}" fill="none" stroke-width="{MARK // 2}"/>'
    note = f"{sum(moved):,} of {len(moved):,} partitions move"
    yield f'<text class="note" x="{CENTRES[1]}" y="{MIDDLE + 20}">{note}</text>'


def _shards(ring: Ring) -> str:
    return counted(len(ring.names), "shard")


def _ring(centre: int, ring: Ring, colours: dict[str, str]) -> Iterator[str]:
    """One path a shard, all of its arcs in it."""
    for name in ring.names:
        arcs = _arcs(centre, RADIUS, [owners[0] == name for owners in ring.owners])
        yield f'<path d="{arcs}" fill="none" stroke="{colours[name]}" stroke-width="{THICKNESS}"/>'
    yield f'<text class="head" x="{centre}" y="{MIDDLE - 4}">{_shards(ring)}</text>'


def _legend(names: list[str], colours: dict[str, str], columns: int) -> Iterator[str]:
    for number, name in enumerate(names):
        x = 20 + number % columns * LEGEND_COLUMN
        y = LEGEND_TOP + number // columns * LEGEND_LINE
        shown = name if len(name) <= 20 else f"{name[:19]}…"
        yield f'<rect x="{x}" y="{y - 12}" width="14" height="14" rx="3" fill="{colours[name]}"/>'
        yield f'<text x="{x + 22}" y="{y}">{shown}</text>'


def _arcs(centre: int, radius: int, wanted: Sequence[bool]) -> str:
    """The SVG path of the wanted partitions: neighbours are one arc, of at most a half circle, as SVG demands."""
    count = len(wanted)
    found = []
    for (_half, is_wanted), group in groupby(range(count), key=lambda at: (at >= count // 2, wanted[at])):
        members = list(group)
        if is_wanted:
            start, end = _point(centre, radius, members[0] / count), _point(centre, radius, (members[-1] + 1) / count)
            found.append(f"M{start}A{radius} {radius} 0 0 1 {end}")
    return "".join(found)


def _point(centre: int, radius: int, turn: float) -> str:
    """A point of the circle as SVG's coordinates; a `turn` of 0 is the top, 1/4 the right."""
    angle = 2 * pi * turn
    return f"{centre + radius * sin(angle):.2f} {MIDDLE - radius * cos(angle):.2f}"


def _colour(number: int, count: int) -> str:
    """Distinct hues, of two lightnesses in turn."""
    return f"hsl({round(360 * number / count)} 65% {45 if number % 2 else 60}%)"
