"""Which addresses may be shards: a list, or what a name resolves to now. Who they are, they say themselves."""

import asyncio
import logging
import socket
from dataclasses import dataclass

from cluster.address import Address
from cluster.errors import InvalidAddress

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

    async def look(self, known: frozenset[Address]) -> frozenset[Address]:
        """The addresses now. Where a look-up fails, those that are `known` stay: DNS fails more than shards do."""
        found = set(self.addresses)
        for name in self.names:
            try:
                found |= await _resolve(name)
            except OSError as error:
                log.debug("cannot resolve %s: %s; keeping what is known", name, error)
                return known | found
        return frozenset(found)


async def _resolve(name: Address) -> set[Address]:
    loop = asyncio.get_running_loop()
    answers = await loop.getaddrinfo(name.host, name.port, type=socket.SOCK_STREAM)
    return {Address(str(sockaddr[0]), int(sockaddr[1])) for *_, sockaddr in answers}
