"""`ringkv up`, as anybody would start it; and its processes one by one, with TLS."""

import json
import re
import sys
import urllib.request
from collections.abc import Mapping
from typing import Final

from bench.data import Data
from bench.load import Endpoint
from bench.peers.certificate import certify
from bench.processes import Processes

NEARLY_ALL: Final = 0.99
"""Of the bytes that a shard has leased: blocks without any key have some too, and are never read."""


class Ringkv:
    needs: Mapping[str, str] = {}

    def __init__(self, shards: int = 3, *options: str) -> None:
        self.name = "ringkv"
        self.setup = f"`ringkv up`: {shards} shards on Unix sockets and a router, all in Python"
        self._shards = shards
        self._options = options

    def start(self, data: Data, processes: Processes) -> Endpoint:
        return self._start(data, processes, "")[0]

    def start_with_redis(self, data: Data, processes: Processes) -> tuple[Endpoint, int]:
        """As `start`, and the number of its Redis port."""
        endpoint, ready = self._start(data, processes, r", redis://127\.0\.0\.1:(\d+)", "--redis-port", "0")
        return endpoint, int(ready[2])

    def start_with_nodes(self, data: Data, processes: Processes) -> tuple[Endpoint, int]:
        """As `start`, and the port of a shard that is a node of a Redis Cluster."""
        endpoint, ready = self._start(data, processes, r", Redis Cluster 127\.0\.0\.1:(\d+)", "--cluster-port", "0")
        return endpoint, int(ready[2])

    def _start(self, data: Data, processes: Processes, told: str, *options: str) -> tuple[Endpoint, re.Match[str]]:
        command = [sys.executable, "-m", "ringkv", "up", str(data.packed), "--port", "0", *self._options, *options]
        processes.start("ringkv", *command, "--shards", str(self._shards))
        log = processes.folder / "ringkv.log"
        pattern = rf"ready on http://127\.0\.0\.1:(\d+){told}\n"
        ready = processes.wait_for(lambda: re.search(pattern, log.read_text()), "ringkv did not start")
        endpoint = Endpoint(int(ready[1]))
        # Others have their data in memory before they are measured.
        processes.wait_for(lambda: _has_read_all(endpoint.port), "ringkv did not read its data")
        return endpoint, ready


def _has_read_all(port: int) -> bool:
    """Whether all shards have read and checked what they have leased, which they do behind the first answers."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/stats", timeout=30) as response:
        shards = json.load(response)["shards"]
    return all(shard["state"] == "serving" and NEARLY_ALL * shard["bytes"] <= shard["checked"] for shard in shards)


class SecuredRingkv:
    name = "ringkv, TLS"
    setup = "3 `ringkv shard` on Unix sockets and a `ringkv router --tls-cert`"
    needs: Mapping[str, str] = {"openssl": "openssl"}

    def start(self, data: Data, processes: Processes) -> Endpoint:
        sockets = [processes.folder / f"shard-{number}.sock" for number in (1, 2, 3)]
        for path in sockets:
            command = [sys.executable, "-m", "ringkv", "shard", str(data.packed), "--leased"]
            processes.start(path.stem, *command, "--listen", f"unix:{path}", "--name", path.stem)
        for path in sockets:
            processes.wait_for_socket(path)
        listed = ",".join(f"unix:{path}" for path in sockets)
        command = [sys.executable, "-m", "ringkv", "router", "--shards", listed, "--listen", "127.0.0.1:0"]
        processes.start("router", *command, "--tls-cert", certify(processes.folder))
        log = processes.folder / "router.log"
        pattern = r"router listens on 127\.0\.0\.1:(\d+)"
        ready = processes.wait_for(lambda: re.search(pattern, log.read_text()), "the router did not start")
        return Endpoint(int(ready[1]), scheme="https")
