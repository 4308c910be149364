"""RESP, the Redis protocol, as far as hiredis does not bring it: replies, the GET command, a reader.

Source: https://redis.io/docs/latest/develop/reference/protocol-spec/
"""

import re
from collections.abc import Iterable
from typing import Final

import hiredis

NOT_ENOUGH: Final = object()
"""What a reader's `gets()` returns until a whole message has arrived; None is RESP's null."""

NULL: Final = b"$-1\r\n"
NULL3: Final = b"_\r\n"
"""What stands for a key that is not there, in RESP2 and in RESP3."""


class _Heads(dict[int, bytes]):
    def __missing__(self, size: int) -> bytes:
        return b"$%d\r\n" % size


HEADS: Final = _Heads({size: b"$%d\r\n" % size for size in range(1024)})
"""The size of a value → what stands before it in a reply: a value between two constants, for it and for what ends it,
costs half of one that is formatted."""


def reader() -> hiredis.Reader:
    """A parser of RESP messages. A value of -ERR is returned as hiredis.ReplyError, not raised."""
    return hiredis.Reader(notEnoughData=NOT_ENOUGH)


GET: Final = b"*2\r\n$3\r\nGET\r\n$36\r\n"
"""What a GET of a key begins with."""

_BETWEEN_GETS: Final = b"\r\n" + GET


def get_commands(keys: list[bytes]) -> bytes:
    """`GET key` for each of at least one key of 36 bytes: the one command that is worth a template."""
    return b"%b%b\r\n" % (GET, _BETWEEN_GETS.join(keys))


_is_integer = re.compile(rb"0|-?[1-9][0-9]{0,18}").fullmatch


def parse_integer(arg: bytes) -> int:
    """A signed number of 64 bits as Redis reads it: no sign "+", no zeros before it. Raises ValueError."""
    number = int(arg) if _is_integer(arg) else 1 << 63
    if not -(1 << 63) <= number < 1 << 63:
        raise ValueError("value is not an integer or out of range")
    return number


def bulk(value: bytes | str) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return b"$%d\r\n%b\r\n" % (len(data), data)


def integer(number: int) -> bytes:
    return b":%d\r\n" % number


def simple(text: str) -> bytes:
    return b"+%b\r\n" % text.encode()


def error(code: str, message: str) -> bytes:
    """An error of one line; `code` is the upper-case word that clients look at."""
    return b"-%b %b\r\n" % (code.encode(), " ".join(message.split()).encode())


def array(items: list[bytes]) -> bytes:
    """An array of encoded items."""
    return b"*%d\r\n%b" % (len(items), b"".join(items))


def bulks(items: Iterable[bytes | None], null: bytes) -> bytes:
    """Bulk strings, one behind the other, `null` standing for what is not there."""
    parts: list[bytes] = []
    heads = HEADS
    for item in items:
        if item is None:
            parts.append(null)
        else:
            parts += (heads[len(item)], item, b"\r\n")
    return b"".join(parts)


def values(items: list[bytes | None], null: bytes) -> bytes:
    """An array of bulk strings, `null` standing for what is not there."""
    return b"*%d\r\n%b" % (len(items), bulks(items, null))


def map_(items: list[tuple[bytes, bytes]], *, resp3: bool) -> bytes:
    """A map of encoded names and values; RESP2 has none, and takes them as an array, one behind the other."""
    parts = [part for item in items for part in item]
    return b"%%%d\r\n%b" % (len(items), b"".join(parts)) if resp3 else array(parts)
