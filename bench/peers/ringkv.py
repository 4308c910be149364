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
        command = [sys.executable, "-m", "ringkv", "up", str(data.packed), "--port", "0"]
        processes.start("ringkv", *command, "--shards", str(self._shards))
        log = processes.folder / "ringkv.log"
        ready = processes.wait_for(
            lambda: re.search(r"ready on http://127\.0\.0\.1:(\d+)\n", log.read_text()), "ringkv did not start"
        )
        return Endpoint(int(ready[1]))
