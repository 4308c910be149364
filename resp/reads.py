r"""The fast way of `requests`: GETs and MGETs of keys, which nearly all requests are, split by a few calls into C.

Each function proves by the sizes of the parts that bytes are just such requests, or else takes none of them.
"""

from collections.abc import Iterable
from itertools import repeat
from typing import Final

from ringkv.resp.codec import GET

_GET_HEADS: Final = {head: b"\r\n" + head for head in (GET, GET.replace(b"GET", b"get"))}
"""What a GET of a key begins with → what stands between two keys."""

_GET_HEAD: Final = len(GET)
GET_BYTES: Final = _GET_HEAD + 36 + 2
"""Bytes of one such GET."""

_LENGTHS: Final = {b"*%d" % (keys + 1): keys * [b"$36"] for keys in range(1, 129)}
"""First line of a request for so many keys → the lines of their lengths. For more keys `equal_arguments` is as fast."""

_COMMANDS: Final = {b"GET": b"$3", b"MGET": b"$4"}
"""A command that reads keys → its length."""

_MOST: Final = 512
"""GETs that are taken apart at once, and _MOST_BYTES of mixed requests: parsed, they take four times their bytes. What
a router asks for in one turn of its loop, for pipelines of many clients, is mostly less."""

_MOST_BYTES: Final = 1 << 14

Found = tuple[Iterable[list[bytes]], int]
"""Requests, and where what follows them begins: 0 if there are none."""

NOTHING: Final[Found] = ((), 0)


def lone_gets(data: bytes) -> list[bytes]:
    """The keys, if `data` is nothing but up to _MOST whole GETs of keys of 36 bytes; else none."""
    between = _GET_HEADS.get(data[:_GET_HEAD])
    if between is None or len(data) % GET_BYTES or len(data) > _MOST * GET_BYTES:
        return []
    if len(data) == GET_BYTES and data[-2:] == b"\r\n":
        return [data[_GET_HEAD:-2]]
    return _gets(data, 0, between)


def reads(data: bytes, at: int) -> Found:
    """The first of the GETs and MGETs of keys of 36 bytes that begin at `at`, as far as they are whole."""
    between = _GET_HEADS.get(data[at : at + _GET_HEAD])
    if between and (keys := _gets(data, at, between)):
        # Made one by one: the collector would visit those of a hundred clients who send long pipelines and do not read.
        return map(list, zip(repeat(b"GET"), keys, strict=False)), at + len(keys) * GET_BYTES
    if data[at : data.find(b"\r\n", at, at + 6)] in _LENGTHS:
        return _mixed(data, at)
    return NOTHING


def _gets(data: bytes, at: int, between: bytes) -> list[bytes]:
    """The keys of a pipeline of nothing but GETs.

    Sizes prove it: all parts together have as many bytes as so many keys, and none is longer than a key. So none is
    shorter, and no separator was part of a key.
    """
    count = min((len(data) - at) // GET_BYTES, _MOST)
    end = at + count * GET_BYTES
    keys = data[at + _GET_HEAD : end - 2].split(between)
    if len(keys) != count or max(map(len, keys)) != 36 or data[end - 2 : end] != b"\r\n":
        return []
    return keys


def _mixed(data: bytes, start: int) -> Found:
    """GETs and MGETs, taken apart by their lines.

    Each length stands in front of its line. That all keys have it is proved by sizes once for all of them: together
    they have as many bytes as so many keys, and none is longer than a key.
    """
    window = data[start : start + _MOST_BYTES]
    lines = window.split(b"\r\n")
    found: list[list[bytes]] = []
    every: list[bytes] = []
    size = at = 0
    last = len(lines) - 1  # behind the last line's end: nothing, or what is not whole
    while at < last and (lengths := _LENGTHS.get(lines[at])):
        end = at + 3 + 2 * len(lengths)
        args = lines[at + 2 : end : 2]
        if end > last or lines[at + 1] != _COMMANDS.get(args[0]) or lines[at + 3 : end : 2] != lengths:
            break
        found.append(args)
        every += args
        size += len(lines[at]) + len(args[0]) + 8 + 43 * len(lengths)
        at = end
    left = lines[at:]
    if not found or len(b"\r\n".join(left)) + size != len(window) or max(map(len, every)) != 36:
        return NOTHING
    return found, start + size


def equal_arguments(data: bytes, start: int, end: int, head: bytes, count: int) -> list[bytes] | None:
    """The `count` arguments if all of them have the length of the first, which begins at `start` behind `head`.

    Proved by sizes, as in `_gets`.
    """
    found = data[start : end - 2].split(b"\r\n" + head)
    length = (end - start + len(head)) // count - len(head) - 2
    if len(found) == count and max(map(len, found)) == length and data.endswith(b"\r\n", start, end):
        return found
    return None
