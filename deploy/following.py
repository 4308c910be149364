"""Follows the data of `ringkv up`: other files that get their names are packed, and served if they are good.

    a look each second ──another file, the same at two looks──► pack ──► compare with what is served ──► serve
    SIGHUP ──────────────whatever stands there now────────────► pack ──►            …

A file that was renamed to the name is whole. When a file that is written in place is whole, only its writer knows, and
the same holds for the files of a folder or of a pattern: such a change is logged, and SIGHUP has it taken.
"""

import asyncio
import glob
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from ringkv.cluster.errors import DatasetError
from ringkv.dataset.dataset import Dataset
from ringkv.dataset.format import MANIFEST
from ringkv.dataset.source.file import Identity
from ringkv.dataset.source.find import find, is_dataset
from ringkv.deploy.packing import packed

if TYPE_CHECKING:
    from ringkv.dataset.packing.merge import DuplicatePolicy

log = logging.getLogger("ringkv.deploy")

LOOK_INTERVAL: Final = 1.0
"""Seconds between two looks at the names."""

State = tuple[Identity, ...]
"""The files that have the names now; () if there are none, or they cannot be looked at."""


class Given(NamedTuple):
    """Data as the command line named them, how they are packed, and the state of their files before that."""

    data: tuple[Path, ...]
    on_duplicate: "DuplicatePolicy"
    cache: Path | None
    state: State

    @property
    def name(self) -> str:
        """The data's name in messages."""
        return ", ".join(map(str, self.data))

    @property
    def single(self) -> bool:
        """Whether each name is that of one file or dataset, which a rename replaces as a whole."""
        return all(is_dataset(path) or path.is_file() for path in self.data)


class Following:
    """`take` is called with each new dataset, open, to be closed there; it raises DatasetError for a bad one."""

    def __init__(self, given: Given, take: Callable[[Dataset], Awaitable[None]]) -> None:
        self._given = given
        self._take = take
        self._asked = asyncio.Event()

    def ask(self) -> None:
        """Take the files that have the names now: somebody says that they are whole."""
        self._asked.set()

    async def run(self) -> None:
        """Run until cancelled."""
        taken = told = before = self._given.state
        while True:
            asked = await self._wait()
            now = await self._look()
            if asked or (now == before and now and _files(now) != _files(taken) and self._given.single):
                taken = now
                await self._replace()
            elif now == before and now and now not in {taken, told}:
                told = now
                log.warning("%s: has changed in place; SIGHUP lets it be served", self._given.name)
            before = now

    async def _wait(self) -> bool:
        """Wait for the next look; returns whether somebody has asked for it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_INTERVAL):
                await self._asked.wait()
        asked = self._asked.is_set()
        self._asked.clear()
        return asked

    async def _look(self) -> State:
        return await asyncio.to_thread(look, self._given.data)

    async def _replace(self) -> None:
        try:
            path = await packed(self._given.data, self._given.on_duplicate, self._given.cache)
            await self._take(Dataset.open(path))
        except DatasetError as error:
            log.error("%s; what is served stays as it is", error)


def look(data: tuple[Path, ...]) -> State:
    """The state of the files that have these names now."""
    try:
        return tuple(identity for path in data for identity in _identities(path))
    except (OSError, DatasetError):
        return ()


def _identities(path: Path) -> Iterator[Identity]:
    if is_dataset(path):
        folder, manifest = path.stat(), (path / MANIFEST).stat()
        yield Identity.of(manifest)._replace(device=folder.st_dev, inode=folder.st_ino)
    elif path.is_dir() or (glob.has_magic(str(path)) and not path.exists()):
        yield from (source.file.identity for source in find([path]) if source.file)
    else:
        yield Identity.of(path.stat())


def _files(state: State) -> set[tuple[int, int]]:
    return {(identity.device, identity.inode) for identity in state}
