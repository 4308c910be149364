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
