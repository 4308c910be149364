"""Real shards that are nodes of a Redis Cluster, each on a port of its own, and a router that knows all of them."""

import socket
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ringkv.process.address import Address
from tests.support.processes import PATIENCE, Spawned, Spawner, wait_for
from tests.support.resp import Client

NAMES = ("a", "b", "c", "d", "e")


class Nodes:
    """`addresses` are those of NAMES; `shards` those that were started. `options` are the router's."""

    def __init__(self, spawn: Spawner, data: Path, start: Iterable[str], *options: str) -> None:
        self._spawn = spawn
        self._data = data
        self.addresses = dict(zip(NAMES, spawn.ports(len(NAMES)), strict=True))
        self.shards: dict[str, Spawned] = {}
        for name in start:
            self.start(name)
        self.redis = Address(f"{spawn.directory()}/redis", None)
        self.router = self.start_router(self.redis, NAMES, *options)
        self.wait()

    def start(self, name: str, *options: str) -> None:
        address = str(self.addresses[name])
        args = ["--name", name, "--leased", "--listen", address, "--announce", address, *options]
        self.shards[name] = self._spawn.run(sys.executable, "-m", "ringkv", "shard", self._data, *args)
        self.shards[name].wait_for_line(r"shard .* ready on")

    def start_router(self, redis: Address, names: Iterable[str], *options: str) -> Spawned:
        """A router that knows the addresses of these names."""
        listed = ",".join(str(self.addresses[name]) for name in names)
        args = ["--listen", "127.0.0.1:0", "--redis-listen", str(redis), *options]
        router = self._spawn("router", "--shards", listed, *args)
        router.wait_for_line(r"topology \d+ in")
        return router

    def ask(self, address: Address, *args: str) -> Any:
        """The reply to one command."""
        family = socket.AF_UNIX if address.port is None else socket.AF_INET
        with socket.socket(family) as connected:
            connected.settimeout(PATIENCE)
            connected.connect(address.host if address.port is None else (address.host, address.port))
            return Client(connected)(*args)

    def owners(self, address: Address) -> set[str]:
        """The names of the nodes that own slots, as one of them or the router tells; none before it can."""
        by_port = {address.port: name for name, address in self.addresses.items()}
        slots = self.ask(address, "CLUSTER", "SLOTS")
        return {by_port[node[1]] for _, _, *nodes in slots for node in nodes} if isinstance(slots, list) else set()

    def wait(self) -> None:
        """Wait until all that were started own slots, as each of them and the router tells."""
        wanted = set(self.shards)
        for address in [self.redis, *(self.addresses[name] for name in self.shards)]:
            wait_for(lambda address=address: self.owners(address) == wanted, f"{address} does not tell of {wanted}")  # type: ignore[misc]
