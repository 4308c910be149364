"""Network namespaces: a small network inside this machine where packets can be lost without a word.

    ┌ hub ────────────────────────┐        ┌ shard-1 ────┐
    │ router, load    bridge ─────┼─ veth ─┤ 10.9.0.11   │
    │ 10.9.0.1           ├────────┼─ veth ─┤ …           │

Every address lives in a namespace that was made here, and goes with it: nothing of the machine's own network is
touched. The router and the load are started from inside the hub, each shard in a namespace of its own.
"""

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.chaos.cluster import Place

CLONE_NEWNET: Final = 0x40000000
PORT: Final = 7379


def usable() -> bool:
    """Whether this process may make namespaces: it needs root, and the tools."""
    return os.geteuid() == 0 and all(map(shutil.which, ("ip", "iptables")))


class Network:
    """A hub, and a namespace for each name, connected to it; `hub` is the hub's own address."""

    def __init__(self, names: Iterable[str]) -> None:
        self._prefix = f"ringkv-{os.getpid()}"
        self._hub = f"{self._prefix}-hub"
        self.hub = "10.9.0.1"
        self._addresses = {name: f"10.9.0.{number}" for number, name in enumerate(names, start=11)}

    def __enter__(self) -> Self:
        try:
            self._build()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The interfaces and rules inside go with their namespace.
        for namespace in (self._hub, *map(self.namespace, self._addresses)):
            subprocess.run(["ip", "netns", "delete", namespace], check=False, capture_output=True)

    @property
    def places(self) -> dict[str, Place]:
        return {
            name: Place(f"{address}:{PORT}", ("ip", "netns", "exec", self.namespace(name)))
            for name, address in self._addresses.items()
        }

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Be in the hub: this thread, and the processes that it starts."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            _enter(Path(f"/run/netns/{self._hub}"))
            yield
        finally:
            _enter(Path(f"/proc/self/fd/{home}"))
            os.close(home)

    def cut_off(self, name: str) -> None:
        """Drop every packet to and from the shard; nobody is told, no connection is reset."""
        self._firewall(name, "--append")

    def reconnect(self, name: str) -> None:
        self._firewall(name, "--delete")

    def unplug(self, name: str) -> None:
        """Take its cable away, with both ends and for good: nothing inside can be reached or reach anything."""
        _ip(self._hub, f"link delete {self._port(name)}")

    def renew(self, name: str) -> None:
        """A namespace without anything, in the place of the one that was unplugged."""
        _run("ip", "netns", "delete", self.namespace(name))
        self._connect(name)

    def namespace(self, name: str) -> str:
        return f"{self._prefix}-{name}"

    def address(self, name: str) -> str:
        return self._addresses[name]

    def _firewall(self, name: str, action: str) -> None:
        for chain in ("INPUT", "OUTPUT"):
            _run("ip", "netns", "exec", self.namespace(name), "iptables", action, chain, "--jump", "DROP")

    def _port(self, name: str) -> str:
        return f"port{self._addresses[name].rpartition('.')[2]}"

    def _build(self) -> None:
        self._add(self._hub)
        _ip(self._hub, "link add hub type bridge")
        _ip(self._hub, f"address add {self.hub}/24 dev hub")
        _ip(self._hub, "link set hub up")
        for name in self._addresses:
            self._connect(name)

    def _connect(self, name: str) -> None:
        namespace, port = self.namespace(name), self._port(name)
        self._add(namespace)
        _ip(self._hub, f"link add {port} type veth peer name uplink netns {namespace}")
        _ip(self._hub, f"link set {port} master hub up")
        _ip(namespace, f"address add {self._addresses[name]}/24 dev uplink")
        _ip(namespace, "link set uplink up")

    def _add(self, namespace: str) -> None:
        _run("ip", "netns", "add", namespace)
        _ip(namespace, "link set lo up")


def _ip(namespace: str, command: str) -> None:
    _run("ip", "-netns", namespace, *command.split())


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


def _enter(namespace: Path) -> None:
    """setns(2), which Python has from 3.12 on."""
    with namespace.open("rb") as file:
        if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
