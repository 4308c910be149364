"""Large values in a reply that is held whole: memory for all of them is claimed before the first is read."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Protocol

from ringkv.cluster.errors import ShardUnavailable
from ringkv.process.budget import Claim
from ringkv.process.cancelling import cancel
from ringkv.resp import codec
from ringkv.resp.claiming import COPIES
from ringkv.resp.pending import Pending
from ringkv.router.lookup.large import Large, claim, read
from ringkv.router.lookup.lookup import Lookups
from ringkv.router.policy import MGET_REPLY
from ringkv.router.redis.patience import Patience
from ringkv.router.redis.unavailable import unavailable


class Client(Protocol):
    """A connection, as far as pipelines and large values have to know it."""

    lookups: Lookups
    patience: Patience
    null: bytes

    def notify(self) -> None: ...

    def make(self, size: int) -> None:
        """Note the bytes of a reply that is not whole yet: of the one behind which nothing is begun."""

    def has(self, reply: Pending) -> bool:
        """Whether `reply` waits in line there, to be sent by itself and not as a part of another reply."""

    def send(self, part: bytes) -> None:
        """Send a part of the reply whose turn it is."""

    def abort(self) -> None:
        """Close at once."""

    def keep(self, claims: Iterable[Claim]) -> None:
        """Hold on to memory until all that was begun is answered."""

    def about_to_send(self, claims: Collection[Claim]) -> None:
        """Hold these claims, of which some may be kept already, until the client has read what is sent in this turn."""


class Whole:
    """Reads large values; `done` is called once, with the values by their places, or with an error reply.

    With `keep` the reply is a part of another one that is sent later, and the claims are held until then.
    """

    def __init__(
        self,
        client: Client,
        larges: Mapping[int, Large],
        done: Callable[[dict[int, bytes] | bytes], None],
        *,
        keep: bool,
    ) -> None:
        self._client = client
        self._larges = larges
        self._done = done
        self._keep = keep
        self._task = asyncio.create_task(self._read())

    def abandon(self) -> None:
        cancel(self._task)

    async def _read(self) -> None:
        lookups = self._client.lookups
        size = sum(large.size for large in self._larges.values())
        if size > MGET_REPLY:
            self._done(too_much(MGET_REPLY))
            return
        try:
            claimed = await claim(lookups, COPIES * size)
            found = {place: await read(lookups, large) for place, large in self._larges.items()}
        except ShardUnavailable as error:
            self._done(unavailable(error))
            return
        if self._keep:
            self._client.keep([claimed])
        else:
            self._client.about_to_send([claimed])
        self._done(found)


def too_much(most: int) -> bytes:
    """The error reply to who asks for values of more than `most` bytes together."""
    return codec.error("ERR", f"these values have more than {most} bytes: ask for fewer keys at once")


def larges_of(found: Sequence[bytes | Large | None]) -> dict[int, Large]:
    """The large values that are still to be read, by their places."""
    return {place: value for place, value in enumerate(found) if isinstance(value, Large)}
