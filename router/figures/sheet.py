"""A file in which a worker of a router tells the others something: its figures, its events, its hottest keys."""

import json
import logging
from pathlib import Path
from typing import Any

from ringkv.process.causes import in_words

log = logging.getLogger("ringkv.router")


class Sheet:
    """What is written in it takes the place of what was there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fails = False

    def write(self, content: Any) -> bool:
        """Write it as JSON; False if that cannot be, as on a full disk: the worker serves on, and tries again."""
        # Replaced in one step: a reader sees the old file or the new one, never a part.
        new = self._path.with_suffix(f"{self._path.suffix}-new")
        try:
            new.write_text(json.dumps(content))
            new.replace(self._path)
        except OSError as error:
            if not self._fails:
                log.warning(
                    "%s cannot be written: %s; the other workers count what it told last", self._path, in_words(error)
                )
            self._fails = True
            return False
        self._fails = False
        return True


class Copy:
    """A sheet that another worker writes, or the one that this worker's predecessor has written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last: Any = None
        self._fails = False

    def read(self) -> Any:
        """What it says; if it cannot be read now, what it said last. None as long as nothing is written."""
        try:
            self._last = json.loads(self._path.read_text())
        except FileNotFoundError:
            self._last = None
        except OSError as error:
            # Such as that no file can be opened. Without the worker's counts the sums would go back.
            if not self._fails:
                log.warning("%s cannot be read: %s; what it told last counts", self._path, in_words(error))
            self._fails = True
            return self._last
        self._fails = False
        return self._last
