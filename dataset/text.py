"""The text format: lines of `<UUID v4> <value>`, parsed a chunk at a time by NumPy instead of line by line.

The value is every byte between the space and the newline, whatever it is; only the last newline may lack.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cluster.errors import InvalidKey
from cluster.limits import MAX_VALUE
from cluster.position import canonical, is_canonical, position

KEY_TEXT: Final = 36
VALUE_AT: Final = KEY_TEXT + 1
MAX_LINE: Final = VALUE_AT + MAX_VALUE
"""The bytes of the longest line, without its newline."""

_NEWLINE: Final = ord("\n")
_DASHES: Final = [8, 13, 18, 23]
_DIGITS: Final = [at for at in range(KEY_TEXT) if at not in _DASHES]


@dataclass(frozen=True, slots=True)
class Columns:
    """The pairs of a chunk in the order of its lines: a row a line.

    `keys` are items of 16 bytes; `starts` and `lengths` say where in the chunk the values are.
    """

    positions: NDArray[np.uint64]
    keys: NDArray[np.void]
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]


class Malformed(NamedTuple):
    """The first line of a chunk that breaks the format: its index, from 0, and what is wrong with it."""

    line: int
    reason: str


def parse(chunk: bytes) -> Columns | Malformed:
    """The pairs of `chunk`, which begins where a line does and ends where one does."""
    starts, ends = line_bounds(chunk)
    short = np.flatnonzero(ends - starts < VALUE_AT)
    whole = int(short[0]) if len(short) else len(starts)
    heads = _windows(chunk, starts[:whole])
    wrong = np.flatnonzero(~_well_formed(heads) | (ends[:whole] - starts[:whole] > MAX_LINE))
    if len(wrong) or len(short):
        line = int(wrong[0]) if len(wrong) else whole
        return Malformed(line, why_malformed(chunk[starts[line] : ends[line]]))
    # In ASCII this lowers the letters, and leaves the digits and the dashes as they are.
    text = heads[:, :KEY_TEXT] | np.uint8(0x20)
    return Columns(_positions(text), _keys(text), starts + VALUE_AT, ends - starts - VALUE_AT)


def line_bounds(chunk: bytes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where each line starts, and where it ends without its newline."""
    ends = np.flatnonzero(np.frombuffer(chunk, np.uint8) == _NEWLINE)
    if not chunk.endswith(b"\n") and chunk:
        ends = np.append(ends, len(chunk))
    starts = np.zeros_like(ends)
    starts[1:] = ends[:-1] + 1
    return starts, ends


def why_malformed(line: bytes) -> str:
    """What is wrong with one line, without its newline; an empty text if it is well-formed."""
    if not line:
        return "the line is empty; want `<UUID v4> <value>`"
    key = line[:KEY_TEXT]
    if not is_canonical(key.lower()):
        key = line.partition(b" ")[0]
    try:
        canonical(key)
    except InvalidKey as error:
        return str(error)
    if line[KEY_TEXT:VALUE_AT] != b" ":
        return "no space after the key; want `<UUID v4> <value>`"
    if len(line) > MAX_LINE:
        return f"the value is longer than {MAX_VALUE} bytes"
    return ""


def _windows(chunk: bytes, starts: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The first 37 bytes of each line, a row a line."""
    if not len(starts):
        return np.empty((0, VALUE_AT), np.uint8)
    # A view of every 37 bytes of the chunk, of which the copy takes those that it needs.
    every = np.ndarray(len(chunk) - KEY_TEXT, np.dtype((np.void, VALUE_AT)), chunk, strides=(1,))
    return every[starts].view(np.uint8).reshape(-1, VALUE_AT)


def _well_formed(heads: NDArray[np.uint8]) -> NDArray[np.bool_]:
    # Unsigned bytes below the range wrap around, so that one comparison tests both of its ends.
    allowed = (heads - ord("0") < 10) | ((heads | np.uint8(0x20)) - ord("a") < 6)
    allowed[:, _DASHES] = heads[:, _DASHES] == ord("-")
    allowed[:, 14] = heads[:, 14] == ord("4")
    allowed[:, 19] &= np.isin(heads[:, 19], list(b"89abAB"))
    allowed[:, KEY_TEXT] = heads[:, KEY_TEXT] == ord(" ")
    every: NDArray[np.bool_] = np.logical_and.reduce(allowed, axis=1)
    return every


def _keys(text: NDArray[np.uint8]) -> NDArray[np.void]:
    digits = text.take(_DIGITS, axis=1)
    nibbles = (digits & 15) + (digits >> 6) * 9
    return (nibbles[:, 0::2] << 4 | nibbles[:, 1::2]).view(np.dtype((np.void, 16))).reshape(-1)


def _positions(text: NDArray[np.uint8]) -> NDArray[np.uint64]:
    keys: list[bytes] = text.view(f"S{KEY_TEXT}").reshape(-1).tolist()
    return np.fromiter(map(position, keys), np.uint64, len(keys))
