"""Keeps child processes alive: whichever ends is started again, and all of them stop together."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Final

from ringkv.cluster.errors import DatasetOverwritten, StartupError
from ringkv.process.children import UNUSABLE_DATASET, Child, Life, Start
from ringkv.process.logs import LogStyle

log = logging.getLogger("ringkv.supervisor")

RESTART_DELAY_MIN: Final = 0.1
RESTART_DELAY_MAX: Final = 5.0
"""Seconds between the end of a process and its next start. They double while it ends within RESTART_DELAY_MAX."""


class Supervisor:
    """`failed` is a future that raises when it makes no sense to go on.

    It raises DatasetOverwritten as soon as a process has said that it cannot serve its dataset, and StartupError as
    soon as one has said that it cannot start, unless `settled` is set, or one of its lives has begun before.
    """

    def __init__(self, log_style: LogStyle) -> None:
        self.settled = False
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._log_style = log_style
        self._groups: list[list[str]] = []
        self._children: dict[str, Child] = {}
        self._keeping: set[asyncio.Task[None]] = set()

    def keep(self, lives: Mapping[str, Life], start: Start) -> None:
        """Start a group of processes, by name, and each again whenever it ends."""
        self._groups.append(list(lives))
        for name, life in lives.items():
            self._keeping.add(asyncio.create_task(self._keep(name, life, start)))

    def hang_up(self) -> None:
        """Have all processes read again what may have changed."""
        for child in self._children.values():
            child.hang_up()

    async def stop(self) -> None:
        """End the groups one after the other, the latest first: routers before the shards that they ask."""
        for task in self._keeping:
            task.cancel()
        await asyncio.gather(*self._keeping, return_exceptions=True)
        for group in reversed(self._groups):
            await asyncio.gather(*(self._children[name].stop() for name in group if name in self._children))

    async def _keep(self, name: str, life: Life, start: Start) -> None:
        loop = asyncio.get_running_loop()
        delay = RESTART_DELAY_MIN
        begun = False
        while True:
            started = loop.time()
            try:
                self._children[name] = Child(start, name, self._log_style, life)
            except (OSError, EOFError) as error:
                # There is no room for another process or file, for which the server that forks may have ended, or
                # nobody reaches its socket. Where this is not over soon, each try says so.
                reason = f"{name} cannot be started: {getattr(error, 'strerror', None) or error}"
                if not (self.settled or begun or self.failed.done()):
                    self.failed.set_exception(StartupError(reason))
                    return
                log.error("%s; the next try is in %.1f s", reason, delay)
                await asyncio.sleep(delay)
                delay = min(2 * delay, RESTART_DELAY_MAX)
                continue
            code = await self._children[name].end()
            begun = begun or self._children[name].begun
            if code == UNUSABLE_DATASET:
                if not self.failed.done():
                    self.failed.set_exception(DatasetOverwritten(f"{name} can no longer serve its dataset"))
                return
            if code == 1 and not (self.settled or begun or self.failed.done()):
                self.failed.set_exception(StartupError(f"{name} could not start; its reason stands above"))
                return
            delay = RESTART_DELAY_MIN if loop.time() - started > RESTART_DELAY_MAX else delay
            log.warning("%s ended with code %d and is started again in %.1f s", name, code, delay)
            await asyncio.sleep(delay)
            delay = min(2 * delay, RESTART_DELAY_MAX)
