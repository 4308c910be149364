"""Where shards may be now: at what was given, and where names resolve to. Each is asked who it is (member.py)."""

import asyncio
import logging

from ringkv.process.address import Address
from ringkv.process.causes import in_words
from ringkv.process.names import Names
from ringkv.router.policy import DISCOVERY_INTERVAL
from ringkv.router.settings import SCHEME, Discovery

log = logging.getLogger("ringkv.router")


class Lookout:
    """Finds where shards may be, and logs when a name ceases to resolve and when it does so again."""

    def __init__(self, discovery: Discovery, names: Names) -> None:
        self._discovery = discovery
        self._names = names
        self._asked: dict[Address, asyncio.Future[list[Address]]] = {}
        self._problems: dict[Address, str] = {}

    async def look(self, known: frozenset[Address]) -> frozenset[Address]:
        """The addresses now. If a look-up fails, those that are `known` stay: DNS fails more often than shards do.

        They stay as well while an answer takes long: it is waited for once, and then looked for at each look.
        """
        found = set(self._discovery.addresses)
        asked = {name: self._names.ask(name) for name in self._discovery.names if name not in self._asked}
        self._asked |= asked
        if asked:
            await asyncio.wait(asked.values(), timeout=DISCOVERY_INTERVAL)
        for name, answer in list(self._asked.items()):
            if not answer.done():
                found |= known
                if name not in self._problems:
                    self._failed(name, "the name server has not answered yet")
                continue
            del self._asked[name]
            try:
                found |= set(answer.result())
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
