"""A request that a person types: words on one line, instead of an array of bulk strings.

Words are told apart as Redis does it (sdssplitargs): blanks between them, and quotes around what holds blanks.
"""

import re
from typing import Final

MAX_WORDS: Final = 1024
"""More is nothing that a person types, and each takes microseconds."""

_ESCAPES: Final = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"a": b"\a"}

_ESCAPE: Final = re.compile(rb"\\(?:x([0-9a-fA-F]{2})|(.))", re.DOTALL)
"""What follows a backslash between double quotes: a byte in hexadecimal, or one that may stand for another."""

_PART: Final = re.compile(rb'"((?:[^"\\]|\\.)*)"(?!\S)|\'((?:[^\'\\]|\\.)*)\'(?!\S)|([^\s"\']+)', re.DOTALL)
"""A part of a word: between double quotes, between single quotes, or bare. A closing quote ends its word."""


def words(line: bytes) -> list[bytes] | None:
    """The words of a line; None where a quote is not closed, or goes on behind its closing quote.

    Of more than MAX_WORDS the first ones, one more than so many at least.
    """
    if b'"' not in line and b"'" not in line:
        return line.split()
    found: list[bytes] = []
    at = 0
    while at < len(line) and len(found) <= MAX_WORDS:
        if line[at : at + 1].isspace():
            at += 1
            continue
        word = b""
        while at < len(line) and not line[at : at + 1].isspace():
            part = _PART.match(line, at)
            if part is None:
                return None
            double, single, bare = part.groups()
            if double is not None:
                word += _ESCAPE.sub(_unescaped, double)
            else:
                word += single.replace(b"\\'", b"'") if single is not None else bare
            at = part.end()
        found.append(word)
    return found


def _unescaped(escape: "re.Match[bytes]") -> bytes:
    hexadecimal, other = escape.groups()
    return bytes.fromhex(hexadecimal.decode()) if hexadecimal else _ESCAPES.get(other, other)
