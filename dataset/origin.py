"""The place in a store of a dataset that is mirrored on this machine, and which partitions have to stay in the mirror.

A partition that is claimed may be read where it is mapped. Others may be made holes while the dataset is open.
"""

import logging
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Protocol

from ringkv.cluster.errors import NoSuchObject
from ringkv.dataset.fetches import Fetches
from ringkv.dataset.objects import Objects, Range

log = logging.getLogger("ringkv.dataset")

TELL_SECONDS: Final = 1.0
"""Seconds between two lines in the log about damage: a disk that dies has thousands of damaged blocks."""


class Room(Protocol):
    """How much of the disk a mirror may take."""

    def take(self, size: int) -> bool:
        """Whether there is room for so many bytes more, if need be in place of others. In any thread."""

    def make(self, size: int) -> bool:
        """Let others go for so many bytes, as the disk is full; False if there is nothing to let go."""


class Origin:
    """`location` is the dataset's address in the store. All methods but asynchronous ones are for any thread."""

    def __init__(self, objects: Objects, folder: str, fetches: Fetches, room: Room, proof: Path) -> None:
        """`folder` is the name of the dataset's folder among `objects`; "" if they are the folder.

        By the file `proof` the mirror knows that its tables are those that came from here.
        """
        self._objects = objects
        self.move(folder)
        self.fetches = fetches
        self.room = room
        self.lock = threading.Lock()
        self.claimed: set[int] = set()
        self._proof = proof
        self._full = False
        self._told = float("-inf")

    def move(self, folder: str) -> None:
        """Fetch from this folder of the same objects from now on, which has the same files."""
        self.location = self._objects.place(folder)
        self._prefix = f"{folder}/" if folder else ""

    def read(self, name: str) -> bytes:
        """A whole file. Raises StoreError."""
        with self.fetches.counting(0):
            found = self._objects.read(self._prefix + name)
        self.fetches.bytes += len(found)
        return found

    async def fetch_whole(self, name: str) -> bytes:
        """As `read`; a cancellation ends it. Raises StoreError."""
        with self.fetches.counting(0):
            found = await self._objects.fetch(self._prefix + name)
        self.fetches.bytes += len(found)
        return found

    def read_range(self, name: str, start: int, end: int) -> bytes:
        """Bytes of a file. Raises StoreError."""
        with self.fetches.counting(end - start), self._doubting():
            return self._objects.read_range(self._prefix + name, start, end)

    async def fetch(self, name: str, ranges: Sequence[Range]) -> list[memoryview]:
        """Ranges of bytes of a file, with a request for each; a cancellation ends them. Raises StoreError."""
        size = sum(end - start for start, end in ranges)
        with self.fetches.counting(size, len(ranges)), self._doubting():
            return await self._objects.fetch_ranges(self._prefix + name, ranges)

    def claim(self, partitions: Iterable[int]) -> None:
        """Make no hole of these partitions from now on."""
        with self.lock:
            self.claimed.update(partitions)

    def unclaim(self, partitions: Iterable[int]) -> None:
        """Let these partitions become holes when room is needed. Does not wait while others are made holes."""
        self.claimed.difference_update(partitions)

    def doubt(self) -> None:
        """Have the tables fetched again when the mirror is opened next: something does not fit what they say."""
        with suppress(OSError):
            self._proof.unlink()

    def kept(self, reason: str) -> None:
        """Note that something was written to the mirror ("" as the `reason`), or why it could not be."""
        if reason and not self._full:
            log.warning(
                "%s: the cache cannot keep it: %s: it is fetched whenever it is asked for", self.location, reason
            )
        self._full = bool(reason)

    def damaged(self, what: str) -> None:
        """Note that a block is damaged in the mirror, and about to be fetched."""
        healed = self.fetches.heal()
        if time.monotonic() - self._told >= TELL_SECONDS:
            self._told = time.monotonic()
            log.warning("%s; blocks that had to be fetched again so far: %d", what, healed)

    @contextmanager
    def _doubting(self) -> Iterator[None]:
        """Doubt the tables where they name a segment that the store does not have."""
        try:
            yield
        except NoSuchObject:
            self.doubt()
            raise
