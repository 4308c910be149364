r"""What a client sends, as requests: arrays of bulk strings, and lines that a person types.

    *2\r\n$3\r\nGET\r\n$36\r\n<key>\r\n…      whole pipelines at once (`ringkv.resp.reads`)
    *3\r\n$4\r\nMGET\r\n$36\r\n<key>\r\n…     the same, up to 128 keys; more: equal lengths at once
    PING\r\n                                   one by one

hiredis reads replies. It does not serve here: it makes room for as many arguments as a request announces, 2^32 of
them too, cannot bound what it holds, and knows no lines. Here nothing is kept for a length before its bytes have
come, and a length that is too large is refused when it is read, however it arrives in pieces. The words of the
refusals are Redis's own.

Source: https://redis.io/docs/latest/develop/reference/protocol-spec/
"""

from collections.abc import Iterator
from typing import Final

from ringkv.resp import inline
from ringkv.resp.arguments import TOGETHER, Arguments
from ringkv.resp.reads import NOTHING, equal_arguments, reads

MAX_REQUEST: Final = 4 << 20
"""Bytes of one request. More is a mistake or an attack: MGET of 90,000 keys is smaller."""

MAX_ARGUMENTS: Final = 100_000
"""More than MAX_REQUEST has room for keys. A million, Redis's limit, of short ones would take Python 50 MB."""

MAX_BULK: Final = 1 << 20
"""Bytes of one argument. A key has 36; ECHO and PING may take more."""

MAX_ARGUMENTS_BEFORE_AUTH: Final = 10
MAX_BULK_BEFORE_AUTH: Final = 16_384
"""Redis's limits for a client that has to authenticate and has not done so yet."""

MAX_INLINE: Final = 64 << 10
"""Redis's limit to a line."""

MAX_BLANKS: Final = 512
LONG_LINE: Final = 1 << 10
"""Lines without a request, and bytes of one line, after which others have their turn: a fraction of a millisecond."""

_PIECES: Final = 256
"""Reads that are kept apart until they are joined: each takes 40 bytes besides its own, which may be two."""

_MAX_HEADER: Final = 22
"""Characters of a count or a length with its line's end: no number of 64 bits has more."""

_EQUAL: Final = 8
"""From so many arguments on it pays to try whether all of them have the same length."""

_SHORT: Final = {b"%d\r\n" % number: number for number in range(10)}
_MEDIUM: Final = {b"%d\r\n" % number: number for number in range(10, 100)}
"""What nearly all counts and lengths are: looked up, which takes a third of the time of reading them."""


class RequestError(Exception):
    """What came is no request, or one that is too large. The connection cannot go on; `str()` says why."""


class Requests:
    """The requests of one connection. `ready` are those that have been parsed; `read` parses further ones.

    With `authenticated` the larger limits hold. `idle`: all that has come is parsed. `rests`: parsing has stopped so
    that other connections have their turn, and goes on after that.
    """

    def __init__(self) -> None:
        self.authenticated = True
        self.ready: Iterator[list[bytes]] = iter(())
        self._data = b""  # what is not parsed yet, from `_at` on; empty once all of it is
        self._at = 0
        self._more: list[bytes] = []  # what has come behind it
        self._more_bytes = 0
        self._missing = 0  # bytes that must come before it is worth parsing again
        self.idle = True
        self.rests = False
        self._tired = False  # it is to rest before it parses another request
        self._fresh = False  # whether it may be a pipeline of GETs and MGETs
        self._args = Arguments()  # those of the request that is being read
        self._left = 0  # how many it still lacks
        self._size = 0  # its bytes so far

    @property
    def held(self) -> int:
        """Bytes that have come and are not parsed."""
        return len(self._data) - self._at + self._more_bytes

    @property
    def begun_bytes(self) -> int:
        """About the bytes that the arguments of the request which is being read take."""
        overhead = self._args.overhead
        return self._size + overhead if overhead else 0

    @property
    def begun(self) -> bool:
        """Whether a request has begun to come that is not whole."""
        return bool(self._left or self.held)

    def feed(self, data: bytes) -> None:
        if self.idle:
            self.idle = False
            self._data = data
            self._fresh = True
        else:
            self._more.append(data)
            self._more_bytes += len(data)
            if len(self._more) == _PIECES:
                self._more = [b"".join(self._more)]

    def discard(self) -> bool:
        """Free a part of what the request has that is being read, and will not be whole; whether there is more."""
        return self._args.discard()

    def read(self) -> bool:
        """Parse at least one further request into `ready`; False when none is whole yet. Raises RequestError.

        False too where it rests, which it does once and not again.
        """
        self.rests, self._tired = self._tired, False
        if self.rests:
            return False
        if self._more:
            if self._more_bytes < self._missing:
                return False
            self._join()
        elif not self._data:
            self.idle = not self._left
            return False
        if self._fresh and not self._left:
            self._fresh = False
            found, end = reads(self._data, self._at) if self.authenticated else NOTHING
            if end:
                self._fresh = True
                self._consume(end)
                self.ready = iter(found)
                return True
        args = self._request()
        if args is None:
            return False
        self.ready = iter((args,))
        return True

    def _join(self) -> None:
        more, self._more = self._more, []
        self._data = b"".join([self._data[self._at :], *more])
        self._at = self._more_bytes = self._missing = 0
        self._fresh = True

    def _request(self) -> list[bytes] | None:
        """The next request that is not empty, or None."""
        blanks = 0
        while self._left or self._data:
            if not self._left:
                if blanks == MAX_BLANKS:
                    self.rests = True
                    return None
                blanks += 1
                if self._data[self._at] != ord("*"):
                    args = self._line()
                    if args is None or args:
                        return args
                    continue
                if not self._count():
                    return None
                if not self._left:
                    continue
            if not self._arguments():
                return None
            return self._args.take()
        return None

    def _line(self) -> list[bytes] | None:
        data, at = self._data, self._at
        if data[at] < ord(" ") and not data[at : at + 1].isspace():
            raise RequestError("a request is an array of bulk strings, or a line of text")
        end = data.find(b"\n", at, at + MAX_INLINE + 1)
        if end < 0:
            if len(data) - at > MAX_INLINE:
                raise RequestError("too big inline request")
            self._wait(at, 1)
            return None
        self._tired = end - at > LONG_LINE
        args = inline.words(data[at:end])
        if args is None:
            raise RequestError("unbalanced quotes in request")
        if len(args) > inline.MAX_WORDS:
            raise RequestError("too many words in inline request")
        if args and args[-1].startswith(b"HTTP/"):
            raise RequestError("this port speaks the Redis protocol, not HTTP")
        self._consume(end + 1)
        return args

    def _count(self) -> bool:
        """Read how many arguments the next request has; False when that has not come whole."""
        data, at = self._data, self._at
        short = _SHORT.get(data[at + 1 : at + 4])
        if short:
            self._left = short
            self._size = 4
            self._consume(at + 4)
            return True
        end = data.find(b"\r\n", at, at + _MAX_HEADER)
        if end < 0:
            if len(data) - at >= _MAX_HEADER:
                raise RequestError("invalid multibulk length")
            self._wait(at, 1)
            return False
        digits = data[at + 1 : end]
        # As in Redis, a request of less than one argument is none, and has no reply.
        self._left = 0 if digits[:1] == b"-" and digits[1:].isdigit() else _number(digits)
        if self._left < 0 or self._left > MAX_ARGUMENTS:
            raise RequestError("invalid multibulk length")
        if self._left > MAX_ARGUMENTS_BEFORE_AUTH and not self.authenticated:
            raise RequestError("unauthenticated multibulk length")
        self._size = end + 2 - at
        self._consume(end + 2)
        return True

    def _arguments(self) -> bool:
        """Read the arguments that the request lacks; False when they have not come whole, or others have their turn."""
        data, at, args, left = self._data, self._at, self._args.last, self._left
        later = max(0, left + len(args) - TOGETHER)  # how many it will lack when this part of them is whole
        before = self._size - at  # and `at` more are the bytes of this request so far
        missing = 1
        tried = False
        while left > later and (found := self._length(data, at)):
            start, stop = found
            if before + stop + 2 > MAX_REQUEST:
                raise RequestError(f"a request may have at most {MAX_REQUEST} bytes")
            if stop + 2 > len(data):
                missing = stop + 2 - len(data)
                break
            if args and left - later >= _EQUAL and not tried:
                tried = True
                unit = stop + 2 - at
                count = min(left - later, (len(data) - at) // unit, (MAX_REQUEST - before - at) // unit)
                if equal := equal_arguments(data, start, at + count * unit, data[at:start], count):
                    args += equal
                    left -= count
                    at += count * unit
                    continue
            if data[stop : stop + 2] != b"\r\n":
                raise RequestError("a bulk string ends where its length says")
            args.append(data[start:stop])
            at = stop + 2
            left -= 1
        self._left = left
        self._size = before + at
        if left > later:
            self._wait(at, missing)
            return False
        self._consume(at)
        if left:
            self._args.part()
            self.rests = True
        return not left

    def _length(self, data: bytes, at: int) -> tuple[int, int] | None:
        """Where the argument whose length stands at `at` begins and ends; None when the length has not come whole."""
        if data[at : at + 1] != b"$":
            if at == len(data):
                return None
            raise RequestError(f"expected '$', got {chr(data[at])!a}")
        if (length := _SHORT.get(data[at + 1 : at + 4], -1)) >= 0:
            return at + 4, at + 4 + length
        if (length := _MEDIUM.get(data[at + 1 : at + 5], -1)) >= 0:
            return at + 5, at + 5 + length
        end = data.find(b"\r\n", at, at + _MAX_HEADER)
        if end < 0 and len(data) - at < _MAX_HEADER:
            return None
        length = _number(data[at + 1 : end]) if end >= 0 else -1
        if not 0 <= length <= MAX_BULK:
            raise RequestError("invalid bulk length")
        if length > MAX_BULK_BEFORE_AUTH and not self.authenticated:
            raise RequestError("unauthenticated bulk length")
        return end + 2, end + 2 + length

    def _consume(self, at: int) -> None:
        if at < len(self._data):
            self._at = at
        else:
            self._data = b""
            self._at = 0

    def _wait(self, at: int, missing: int) -> None:
        """Keep what is not parsed, until so many bytes more have come."""
        self._data = self._data[at:]
        self._at = 0
        self._missing = missing


def _number(digits: bytes) -> int:
    """A number as Redis writes it: without sign and leading zeros; -1 for anything else."""
    return int(digits) if digits.isdigit() and (digits[0] != ord("0") or len(digits) == 1) else -1
