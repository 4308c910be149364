"""`ringkv up`, as anybody would start it."""

import re
import sys
from collections.abc import Mapping

from bench.data import Data
from bench.load import Endpoint
from bench.processes import Processes


class Ringkv:
    needs: Mapping[str, str] = {}

    def __init__(self, shards: int = 3) -> None:
        self.name = "ringkv"
        self.setup = f"`ringkv up`: {shards} shards on Unix sockets and a router, all in Python"
        self._shards = shards

    def start(self, data: Data, processes: Processes) -> Endpoint:
        return self._start(data, processes, "")[0]

    def start_with_redis(self, data: Data, processes: Processes) -> tuple[Endpoint, int]:
        """As `start`, and the number of its Redis port."""
        endpoint, ready = self._start(data, processes, r", redis://127\.0\.0\.1:(\d+)", "--redis-port", "0")
        return endpoint, int(ready[2])

    def _start(self, data: Data, processes: Processes, told: str, *options: str) -> tuple[Endpoint, re.Match[str]]:
        command = [sys.executable, "-m", "ringkv", "up", str(data.packed), "--port", "0", *options]
        processes.start("ringkv", *command, "--shards", str(self._shards))
        log = processes.folder / "ringkv.log"
        pattern = rf"ready on http://127\.0\.0\.1:(\d+){told}\n"
        ready = processes.wait_for(lambda: re.search(pattern, log.read_text()), "ringkv did not start")
        return Endpoint(int(ready[1])), ready
