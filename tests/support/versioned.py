"""Real shards that follow catalogs, and a router of them, whose versions a test publishes."""

import json
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from ringkv.process.address import Address
from tests.support.processes import Spawned, Spawner, wait_for

READY = r"shard .* ready on"


class Versioned:
    """Shards, each with its catalog, behind one router; `options` are the router's."""

    def __init__(self, spawn: Spawner, catalogs: dict[str, Path], *options: str) -> None:
        self._spawn = spawn
        self._options = options
        self.port = 0
        folder = spawn.directory()
        self.addresses = {name: Address(f"{folder}/{name}", None) for name in catalogs}
        self.shards: dict[str, Spawned] = {}
        for name, catalog in catalogs.items():
            self._begin(name, catalog)
        self.start_router()
        for shard in self.shards.values():
            shard.wait_for_line(READY)
        self.serves(1)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start_router(self) -> None:
        """Start the router, where it was if it is started again."""
        listed = ",".join(map(str, self.addresses.values()))
        self.router = self._spawn("router", "--shards", listed, "--listen", f"127.0.0.1:{self.port}", *self._options)
        self.port = int(self.router.wait_for_line(r"router listens on 127\.0\.0\.1:(\d+)")[1])

    def start(self, name: str, catalog: Path) -> None:
        self._begin(name, catalog)
        self.shards[name].wait_for_line(READY)

    def _begin(self, name: str, catalog: Path) -> None:
        args = ["--listen", str(self.addresses[name]), "--name", name, "--leased"]
        self.shards[name] = self._spawn.run(sys.executable, "-m", "ringkv", "shard", catalog, *args)

    def ask(self, path: str) -> Any:
        """What a path tells as JSON."""
        with urllib.request.urlopen(f"{self.url}/{path}", timeout=20) as response:
            return json.load(response)

    def value(self, key: bytes, dataset: str = "") -> tuple[int, bytes, str]:
        """The status of the answer, the value of a key or a line of text, and the dataset that it is of."""
        query = f"?dataset={dataset}" if dataset else ""
        try:
            response = urllib.request.urlopen(f"{self.url}/{key.decode()}{query}", timeout=20)
        except urllib.error.HTTPError as refused:
            response = refused
        with response:
            return response.status, response.read(), response.headers.get("ETag", "").strip('"')

    def serves(self, serial: int) -> None:
        """Wait until the version of this serial is served."""

        def served() -> bool:
            now = self.ask("versions")["served"]
            return now is not None and now["serial"] == serial

        wait_for(served, f"version {serial} is not served")
