"""SCAN, KEYS and RANDOMKEY for a server that can tell its keys page by page, in the order of the ring.

A cursor is a place on the ring (cluster/cursor.py), so a server keeps nothing for a client between two calls, and any
router or shard can go on where another one stopped. A page begins where the last one ended: each key that is there all
the time is returned exactly once. That holds across a change of the dataset too, as a key's place is its hash; a key
that only one of the two has is returned if that one is served when its place is reached. KEYS returns keys of one
dataset alone.
"""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, Generic, TypeVar

from ringkv.cluster.cursor import CURSORS
from ringkv.cluster.errors import RingkvError
from ringkv.cluster.limits import KEYS_LIMIT, SCAN_KEYS
from ringkv.resp import codec
from ringkv.resp.command import Args, Command
from ringkv.resp.connection import Connection
from ringkv.resp.glob import Matches, check_length, matcher
from ringkv.resp.pending import Awaited, Pending
from ringkv.resp.session import ATTEMPTS, REPLACED

DEFAULT_COUNT: Final = 10
"""Keys that a SCAN without COUNT looks at, as in Redis."""

RANDOM_AMONG: Final = 15
"""RANDOMKEY draws one of so many neighbours, as in Redis: else a key behind a wide gap would be drawn more often."""

ALL: Final = b"*"
"""The pattern that all keys fit."""

Page = tuple[int, list[bytes]]
"""The cursor behind a page, 0 at the end of the ring, and the keys of the page, which may be none."""

ClientT = TypeVar("ClientT", bound=Connection)


@dataclass(frozen=True, slots=True)
class Keys(Generic[ClientT]):
    """How a server tells its keys: `size` is their number, `page` takes a cursor and about how many keys to return.

    Both may raise RingkvError, of which `refusal` makes the reply.
    """

    size: Callable[[ClientT], int]
    page: Callable[[ClientT, int, int], Awaitable[Page]]
    refusal: Callable[[RingkvError], bytes]

    def commands(self) -> dict[bytes, Command[ClientT]]:
        return {
            b"SCAN": Command(self.scan, -2),
            b"KEYS": Command(self.keys, 2),
            b"RANDOMKEY": Command(self.random_key, 1),
        }

    def scan(self, client: ClientT, args: Args) -> bytes | Pending:
        """`SCAN cursor [MATCH pattern] [COUNT count] [TYPE type]`."""
        try:
            request = Scan.parse(args)
        except ValueError as error:
            return codec.error("ERR", str(error))
        if request.empty:
            return request.reply(0, [])
        return self._answer(client, partial(self._scan, client, request))

    def keys(self, client: ClientT, args: Args) -> bytes | Pending:
        """`KEYS pattern`, of a dataset that is not too large for one reply."""
        try:
            size = self.size(client)
        except RingkvError as error:
            return self.refusal(error)
        if size > KEYS_LIMIT:
            reason = f"KEYS looks at every key, and here are {size}, more than {KEYS_LIMIT}: use SCAN with MATCH"
            return codec.error("ERR", reason)
        try:
            check_length(args[1:])
        except ValueError as error:
            return codec.error("ERR", str(error))
        return self._answer(client, partial(self._keys, client, args[1]))

    def random_key(self, client: ClientT, _args: Args) -> Pending:
        return self._answer(client, partial(self._random, client))

    async def _scan(self, client: ClientT, request: "Scan") -> bytes:
        matches = None if request.pattern == ALL else await _matcher(client, request.pattern)
        return request.reply(*await self.page(client, request.cursor, request.count), matches)

    async def _keys(self, client: ClientT, pattern: bytes) -> bytes:
        matches = await _matcher(client, pattern)
        for _ in range(ATTEMPTS):
            unchanged = client.reading()
            reply = await self._all(client, matches)
            if unchanged():
                return reply
        return REPLACED

    async def _all(self, client: ClientT, matches: Matches) -> bytes:
        cursor, count, parts = 0, 0, [b""]
        while True:
            cursor, keys = await self.page(client, cursor, SCAN_KEYS)
            fitting = list(filter(matches, keys))
            count += len(fitting)
            parts += [codec.bulk(key) for key in fitting]
            if not cursor:
                parts[0] = b"*%d\r\n" % count
                return b"".join(parts)
            await client.server.turns.turn()

    async def _random(self, client: ClientT) -> bytes:
        null = client.null
        cursor = random.randrange(CURSORS)  # noqa: S311 - nobody keeps a secret by it
        for _ in range(2):  # to the end of the ring, and once around
            while True:
                cursor, keys = await self.page(client, cursor, RANDOM_AMONG)
                if keys:
                    return codec.bulk(random.choice(keys))  # noqa: S311
                if not cursor:
                    break
        return null

    def _answer(self, client: ClientT, reply: Callable[[], Awaitable[bytes]]) -> Pending:
        async def answer() -> bytes:
            try:
                return await reply()
            except RingkvError as error:
                return self.refusal(error)

        return Awaited(client.notify, answer())


async def _matcher(client: Connection, pattern: bytes) -> Matches:
    """That of the pattern, which is not too long. A long one takes a millisecond, and clients take turns at it."""
    await client.server.turns.turn()
    return matcher(pattern)


@dataclass(frozen=True, slots=True)
class Scan:
    """`count` keys are looked at from `cursor` on, and those that match are returned. `empty`: none can match."""

    cursor: int
    count: int
    pattern: bytes
    empty: bool

    @classmethod
    def parse(cls, args: Args) -> "Scan":
        """Read the arguments of SCAN. Raises ValueError with the reason, in Redis's words."""
        cursor = int(args[1]) if args[1].isdigit() and len(args[1]) < 20 else CURSORS
        if cursor >= CURSORS:
            raise ValueError("invalid cursor")
        count, pattern, kind = DEFAULT_COUNT, ALL, b"string"
        options = iter(args[2:])
        for name, value in zip(options, options, strict=False):
            match name.upper():
                case b"COUNT":
                    count = codec.parse_integer(value)
                case b"MATCH":
                    pattern = value
                case b"TYPE":
                    kind = value
                case _:
                    raise ValueError("syntax error")
        if count < 1 or len(args) % 2:
            raise ValueError("syntax error")
        check_length([pattern])
        return cls(cursor, min(count, SCAN_KEYS), pattern, kind.lower() != b"string")

    def reply(self, cursor: int, keys: list[bytes], matches: Matches | None = None) -> bytes:
        """The reply to all `keys` of a page, or to those of them that match."""
        fitting = keys if matches is None else filter(matches, keys)
        return codec.array([codec.bulk(str(cursor)), codec.array([codec.bulk(key) for key in fitting])])
