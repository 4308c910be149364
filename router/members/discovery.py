"""Where shards may be now: at what was given, and where names resolve to. Each is asked who it is (member.py)."""

import asyncio
import logging
import socket

from ringkv.process.address import Address
from ringkv.process.causes import in_words
from ringkv.router.settings import SCHEME, Discovery

log = logging.getLogger("ringkv.router")


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
