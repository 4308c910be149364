"""Notices when the path of the served dataset names another one: what is packed is not what is served then.

A shard goes on with the folder that it has opened, whatever becomes of its name. Nobody would know until its next
start, which may be years away, or tonight.
"""

import asyncio
import logging
from pathlib import Path
from typing import Final

from ringkv.cluster.errors import PackedFileError
from ringkv.dataset.dataset import Dataset

log = logging.getLogger("ringkv.shard")

LOOK_INTERVAL: Final = 1.0
"""Seconds between two looks at the path."""


class Successor:
    """Whatever comes to stand at `path` after this was made, which is to be before the served dataset is opened."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = _file_at(path)

    async def watch(self, shard: str, served: str) -> None:
        """Say once of each other dataset than `served` that the path comes to name. Runs until cancelled."""
        while True:
            await asyncio.sleep(LOOK_INTERVAL)
            if found := await asyncio.to_thread(self._look, served):
                log.warning("shard %s serves dataset %s, but %s is %s", shard, served, self._path, found)

    def _look(self, served: str) -> str:
        """What the path names now, in words; "" for what was seen before, for nothing and for the same content."""
        before, self._seen = self._seen, _file_at(self._path)
        if self._seen in {before, None}:
            return ""
        try:
            with Dataset.open(self._path) as found:
                dataset = found.manifest.dataset_id
        except PackedFileError as error:
            return f"now something else, which cannot be served: {error}"
        return f"now dataset {dataset}: restart the shard to serve that" if dataset != served else ""


def _file_at(path: Path) -> tuple[int, int] | None:
    """Which file stands there, None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
