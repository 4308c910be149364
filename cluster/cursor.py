"""A cursor of SCAN: where on the ring to go on. It is the upper 53 bits of a position, so it needs no state anywhere.

    position, 64 bits   │ cell: 53 bits, which is the cursor │ 11 bits │

53 bits, because JavaScript's numbers end there, and signed 64-bit numbers in other clients soon after. Keys whose
positions share a cell come together: a page never ends inside one. At a billion keys about 50 cells hold two keys.
"""

from typing import Final

from ringkv.cluster.position import POSITION_BITS

CURSOR_BITS: Final = 53
CURSORS: Final = 1 << CURSOR_BITS
"""A cursor is 0 … CURSORS - 1. It is 0 before the first cell, and again behind the last one: the end."""

_SHIFT: Final = POSITION_BITS - CURSOR_BITS


def first_position(cursor: int) -> int:
    """The least position of the cursor's cell."""
    return cursor << _SHIFT


def cell(position: int) -> int:
    """The cell of a position."""
    return position >> _SHIFT


def behind(position: int) -> int:
    """The cursor of the cell behind that of a position: 0 behind the last one."""
    return (cell(position) + 1) % CURSORS
