"""The text format: lines of `<UUID v4> <value>`, parsed a chunk at a time by NumPy instead of line by line.

The value is every byte between the space and the newline, whatever it is; only the last line may lack its newline.
"""

import codecs
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ringkv.cluster.errors import InvalidKey
from ringkv.cluster.limits import MAX_VALUE
from ringkv.cluster.position import POSITION_BITS, SLOT_BITS, canonical, digest, is_canonical
from ringkv.dataset.format import KEY
from ringkv.dataset.slots import slots

KEY_TEXT: Final = 36
VALUE_AT: Final = KEY_TEXT + 1
MAX_LINE: Final = VALUE_AT + MAX_VALUE
"""The bytes of the longest line, without its newline."""

_ENCODINGS: Final = {
    codecs.BOM_UTF8: "UTF-8 with a byte order mark",
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}

_NEWLINE: Final = ord("\n")
_HEX: Final = np.frombuffer(b"0123456789abcdef", np.uint8)
_DASHES: Final = [8, 13, 18, 23]
_DIGITS: Final = [at for at in range(KEY_TEXT) if at not in _DASHES]
_AS_OBJECTS: Final = 1 << 14


@dataclass(frozen=True, slots=True)
class Columns:
    """The pairs of a chunk as columns, with a row for each line, in order.

    `keys` are items of 16 bytes; `starts` and `lengths` are, in bytes, where in the chunk the values lie.
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
    wrong = np.flatnonzero(~well_formed(heads) | (ends[:whole] - starts[:whole] > MAX_LINE))
    if len(wrong) or len(short):
        line = int(wrong[0]) if len(wrong) else whole
        return Malformed(line, why_malformed(chunk[starts[line] : ends[line]]))
    return columns(heads, starts + VALUE_AT, ends - starts - VALUE_AT)


def columns(heads: NDArray[np.uint8], starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> Columns:
    """The columns of well-formed `heads`, rows of 37 bytes, and of values that lie where `starts` and `lengths` say."""
    # In ASCII this lowers the letters, and leaves the digits and the dashes as they are.
    text = heads[:, :KEY_TEXT] | np.uint8(0x20)
    keys = _keys(text)
    return Columns(_positions(text, keys), keys, starts, lengths)


def as_texts(keys: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The canonical texts of keys: from rows of 16 bytes to rows of 36."""
    texts = np.full((len(keys), KEY_TEXT), ord("-"), np.uint8)
    texts[:, _DIGITS] = _HEX[np.stack((keys >> 4, keys & 15), axis=2).reshape(-1, len(_DIGITS))]
    return texts


def well_formed(heads: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """For each row of 37 bytes, whether it is the text of a UUID version 4 and a space."""
    # Unsigned bytes below the range wrap around, so that one comparison tests both of its ends.
    allowed = (heads - ord("0") < 10) | ((heads | np.uint8(0x20)) - ord("a") < 6)
    allowed[:, _DASHES] = heads[:, _DASHES] == ord("-")
    allowed[:, 14] = heads[:, 14] == ord("4")
    allowed[:, 19] &= np.isin(heads[:, 19], list(b"89abAB"))
    allowed[:, KEY_TEXT] = heads[:, KEY_TEXT] == ord(" ")
    every: NDArray[np.bool_] = np.logical_and.reduce(allowed, axis=1)
    return every


def line_bounds(chunk: bytes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where each line starts, and where it ends without its newline."""
    ends = np.flatnonzero(np.frombuffer(chunk, np.uint8) == _NEWLINE)
    if not chunk.endswith(b"\n") and chunk:
        ends = np.append(ends, len(chunk))
    starts = np.zeros_like(ends)
    starts[1:] = ends[:-1] + 1
    return starts, ends


def why_malformed(line: bytes) -> str:
    """What is wrong with one line, given without its newline; "" if it is well-formed."""
    if not line:
        return "the line is empty; want `<UUID v4> <value>`"
    encoding = _encoding(line)
    if encoding:
        return f"the line is {encoding}; save it as UTF-8 without a byte order mark"
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


def _encoding(line: bytes) -> str:
    """The encoding of the line, if it shows that this is another than ASCII for the key: UTF-16, a byte order mark."""
    for mark, encoding in _ENCODINGS.items():
        if line.startswith(mark):
            return encoding
    # Every second byte of a key in UTF-16 is zero: the odd ones, or the even ones.
    zeros = [line[at : KEY_TEXT + at : 2].count(0) for at in (0, 1)]
    return "UTF-16" if 0 in zeros and max(zeros) > KEY_TEXT // 4 else ""


def _windows(chunk: bytes, starts: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The first 37 bytes of each line, a row a line."""
    if not len(starts):
        return np.empty((0, VALUE_AT), np.uint8)
    # A view of every 37 bytes of the chunk, of which the copy takes those that it needs.
    every = np.ndarray(len(chunk) - KEY_TEXT, np.dtype((np.void, VALUE_AT)), chunk, strides=(1,))
    return every[starts].view(np.uint8).reshape(-1, VALUE_AT)


def _keys(text: NDArray[np.uint8]) -> NDArray[np.void]:
    digits = text.take(_DIGITS, axis=1)
    nibbles = (digits & 15) + (digits >> 6) * 9
    return (nibbles[:, 0::2] << 4 | nibbles[:, 1::2]).view(KEY).reshape(-1)


def _positions(text: NDArray[np.uint8], keys: NDArray[np.void]) -> NDArray[np.uint64]:
    texts = text.view(f"S{KEY_TEXT}").reshape(-1)
    positions = np.empty(len(texts), np.uint64)
    # A part at a time, as objects take three times the bytes of their texts.
    for start in range(0, len(texts), _AS_OBJECTS):
        some: list[bytes] = texts[start : start + _AS_OBJECTS].tolist()
        positions[start : start + _AS_OBJECTS] = np.fromiter(map(digest, some), np.uint64, len(some))
    positions >>= np.uint64(SLOT_BITS)
    positions |= slots(keys).astype(np.uint64) << np.uint64(POSITION_BITS - SLOT_BITS)
    return positions
