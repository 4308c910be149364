"""Which addresses may be shards: a list, or what a name resolves to now. Each is asked who it is (member.py)."""

import asyncio
import logging
import socket
from dataclasses import dataclass

from ringkv.cluster.errors import InvalidAddress
from ringkv.process.address import Address
from ringkv.process.causes import in_words

log = logging.getLogger("ringkv.router")

SCHEME = "dns://"


@dataclass(frozen=True, slots=True)
class Discovery:
    """A parsed `--shards`: fixed addresses, names to resolve, or both."""

    addresses: frozenset[Address]
    names: tuple[Address, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "Discovery":
        """Read `host:port,unix:/path,dns://host:port,…`. Raises InvalidAddress."""
        parts = [part.strip() for part in text.split(",") if part.strip()]
        if not parts:
            raise InvalidAddress("no shards: want host:port,… or dns://host:port")
        names = tuple(Address.parse(part.removeprefix(SCHEME)) for part in parts if part.startswith(SCHEME))
        fixed = frozenset(Address.parse(part) for part in parts if not part.startswith(SCHEME))
        return cls(fixed, names)


class Lookout:
    """Finds where shards may be, and logs when a name ceases to resolve and when it does so again."""

    def __init__(self, discovery: Discovery) -> None:
        self._discovery = discovery
        self._problems: dict[Address, str] = {}

    async def look(self, known: frozenset[Address]) -> frozenset[Address]:
        """The addresses now. If a look-up fails, those that are `known` stay: DNS fails more often than shards do."""
        found = set(self._discovery.addresses)
        for name in self._discovery.names:
            try:
                found |= await _resolve(name)
            except OSError as error:
                found |= known
                self._failed(name, in_words(error))
            else:
                if self._problems.pop(name, None):
                    log.warning("%s%s resolves again", SCHEME, name)
        return frozenset(found)

    def _failed(self, name: Address, problem: str) -> None:
        if self._problems.get(name) != problem:
            log.warning("%s%s does not resolve: %s; going on with the shards that are known", SCHEME, name, problem)
        self._problems[name] = problem


async def _resolve(name: Address) -> set[Address]:
    loop = asyncio.get_running_loop()
    answers = await loop.getaddrinfo(name.host, name.port, type=socket.SOCK_STREAM)
    return {Address(str(sockaddr[0]), int(sockaddr[1]), name.host) for *_, sockaddr in answers}
