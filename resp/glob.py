"""Redis's patterns for names of keys and settings: `*`, `?`, `[a-c]`, `[^a-c]`; a backslash takes their meaning away.

Python's fnmatch knows no backslash and writes `[!a]`. As with that, each `*` takes the first place where what follows
it fits, and no other one is tried later: so a pattern of twenty stars costs no more than one of two.

Source: https://redis.io/docs/latest/commands/keys/
"""

import re
from collections.abc import Callable, Sequence
from typing import Final

Matches = Callable[[bytes], object]
"""Whether a name fits: true or false."""

MAX_PATTERN: Final = 1024
"""Bytes that all patterns of a request may have together: names are short, and half a megabyte compiles for seconds."""

_TOKEN: Final = re.compile(rb"(?s)\*+|\?|\[(\^?)((?:\\.|[^\]\\])*)(?:\]|\Z)|\\?(.)")
_MEMBER: Final = re.compile(rb"(?s)\\(.)|(.)(?:-(.))?")


def matcher(pattern: bytes) -> Matches:
    """Whether a whole name fits `pattern`, in upper or lower case, as keys are taken in both. Raises ValueError."""
    check_length([pattern])
    parts = [b""]  # what stands between stars, as regular expressions
    for token in _TOKEN.finditer(pattern):
        text = token[0]
        if text.startswith(b"*"):
            parts.append(b"")
        elif text == b"?":
            parts[-1] += b"."
        elif token[2] is not None:
            parts[-1] += _set(token[2], negated=bool(token[1]))
        else:
            parts[-1] += re.escape(token[3])
    first, *others = parts
    if not others:
        expression = first
    else:
        *between, last = others
        expression = first + b"".join(b"(?>.*?%b)" % part for part in between) + b".*" + last
    return re.compile(b"(?s)" + expression, re.IGNORECASE).fullmatch


def check_length(patterns: Sequence[bytes]) -> None:
    """Raises ValueError if the patterns of one request are too long."""
    if len(patterns) + sum(map(len, patterns)) > MAX_PATTERN:
        raise ValueError(f"patterns of more than {MAX_PATTERN} bytes")


def _set(members: bytes, *, negated: bool) -> bytes:
    """`[members]` as a regular expression; one without members fits nothing."""
    ranges = []
    for found in _MEMBER.finditer(members):
        start = found[1] or found[2]
        low, high = sorted((start, found[3] or start))
        ranges.append(b"%b-%b" % (re.escape(low), re.escape(high)))
    if not ranges:
        return b"." if negated else b"(?!)"
    return b"[%b%b]" % (b"^" if negated else b"", b"".join(ranges))
