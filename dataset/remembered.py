"""What a catalog in a store said last, kept on this machine, so that a shard can start without reaching the store."""

import os
from contextlib import suppress
from pathlib import Path

from xxhash import xxh3_64_hexdigest

from ringkv.cluster.errors import CatalogError
from ringkv.dataset.catalog import CURRENT, Current, parse_current


class Remembered:
    def __init__(self, cache: Path, location: str) -> None:
        """Of the catalog at this address, in the folder of caches."""
        self._path = cache / f"{xxh3_64_hexdigest(location.encode())}.{CURRENT}"

    def read(self) -> Current | None:
        """What was written last; None if nothing was, or if it cannot be read."""
        try:
            return parse_current(str(self._path), self._path.read_bytes())
        except (OSError, CatalogError):
            return None

    def write(self, current: Current) -> None:
        """Keep it, if the disk allows that; else the next start has to ask the store."""
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            written = self._path.with_name(f"{self._path.name}.{os.getpid()}")
            written.write_text(current.text())
            written.replace(self._path)
