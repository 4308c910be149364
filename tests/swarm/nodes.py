"""Docker engines joined to one Swarm, each on a node of its own: a network namespace, and a process namespace in it.

    ┌ hub ────────────────────────┐        ┌ node-1 ────────────────────────────────┐
    │ the load, the store  bridge ─┼─ veth ─┤ 10.9.0.11   engine (number 1) ── tasks │
    │ 10.9.0.1               ├────┼─ veth ─┤ …                                      │

The engine is the first process of its namespace, so that the kernel ends with it all that it started: a node is
lost as when its power is cut, with its containers. Their writable layers and volumes stay, as on a disk.
"""

import os
import shutil
import subprocess
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.chaos.network import Network
from tests.compose.project import docker
from tests.support.processes import PATIENCE, wait_for
from tests.support.store import WITH_PARENT

POOL: Final = "10.98.0.0/16"
"""Where overlay networks take their addresses from: beside that of the nodes."""

LOAD_PATIENCE: Final = 300.0

CONTROL_GROUPS: Final = Path("/sys/fs/cgroup")

ENGINE: Final = """
set -eu
hostname "$1"
mount --rbind /sys/fs/cgroup "$2/cgroup"
mount -t sysfs sysfs /sys
mount --rbind "$2/cgroup" /sys/fs/cgroup
exec dockerd --host "unix://$2/socket" --data-root "$2/data" --exec-root "$2/run" --pidfile "$2/pid" \
    --config-file "$2/config.json" --cgroup-parent "$3"
"""
"""Of bridges an engine reads in /sys, which has to be that of its own network; a new one has no control groups."""


@dataclass(slots=True)
class Node:
    """`name` is its host name and its place in the network; `folder` holds all that it writes."""

    name: str
    folder: Path
    network: Network
    _engine: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def address(self) -> str:
        return self.network.address(self.name)

    @property
    def alive(self) -> bool:
        return self._engine is not None

    def docker(self, *args: str, env: dict[str, str] | None = None, patience: float = PATIENCE) -> str:
        """What `docker ARGS` of its engine writes; an AssertionError where it fails."""
        return docker("--host", f"unix://{self.folder}/socket", *args, env=env, patience=patience)

    def start(self) -> None:
        """Start the engine, with what is left on its disk, and wait until it answers."""
        (self.folder / "cgroup").mkdir(parents=True, exist_ok=True)
        (self.folder / "config.json").write_text("{}")
        # What lies in memory on a real machine.
        (self.folder / "pid").unlink(missing_ok=True)
        shutil.rmtree(self.folder / "run", ignore_errors=True)
        spaces = ("--pid", "--fork", "--kill-child", "--mount", "--mount-proc", "--uts", "--propagation", "slave")
        command = [*WITH_PARENT, "nsenter", f"--net=/run/netns/{self.network.namespace(self.name)}", "unshare", *spaces]
        command += ["sh", "-c", ENGINE, "sh", self.name, str(self.folder), f"/{self._group}"]
        with (self.folder / "log").open("ab") as log:
            self._engine = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_for(self._answers, f"{self.name} does not answer")

    def lose(self) -> None:
        """Its cable, its engine and its containers, at once."""
        self.network.unplug(self.name)
        self.kill()

    def come_back(self) -> None:
        """Start it again after it was lost."""
        self.network.renew(self.name)
        self.start()

    def kill(self) -> None:
        if self._engine is not None:
            self._engine.kill()
            self._engine.wait(PATIENCE)
            self._engine = None

    def clear(self) -> None:
        """Leave nothing of it behind."""
        self.kill()
        wait_for(self._groups_removed, f"{self._group} are in use")
        wait_for(self._removed, f"{self.folder} is in use")

    @property
    def _group(self) -> str:
        return self.network.namespace(self.name)

    def _answers(self) -> bool:
        assert self._engine is not None
        assert self._engine.poll() is None, (self.folder / "log").read_text()[-2000:]
        with suppress(AssertionError):
            self.docker("info")
            return True
        return False

    def _groups_removed(self) -> bool:
        """Take the control groups away, as soon as the kernel sees that nobody is in them."""
        groups = [group for place in ("*/", "") for group in CONTROL_GROUPS.glob(f"{place}{self._group}")]
        for group in groups:
            for path in sorted(group.rglob("*/"), reverse=True):
                with suppress(OSError):
                    path.rmdir()
            with suppress(OSError):
                group.rmdir()
        return not groups

    def _removed(self) -> bool:
        shutil.rmtree(self.folder, ignore_errors=True)
        return not self.folder.exists()


class Swarm:
    """`nodes` that are joined; the first is the only manager."""

    def __init__(self, network: Network, names: list[str], folder: Path) -> None:
        self.nodes = [Node(name, folder / name, network) for name in names]

    @property
    def manager(self) -> Node:
        return self.nodes[0]

    @property
    def living(self) -> list[Node]:
        return [node for node in self.nodes if node.alive]

    def __enter__(self) -> Self:
        try:
            for node in self.nodes:
                node.start()
            manager, *workers = self.nodes
            manager.docker("swarm", "init", "--advertise-addr", manager.address, "--default-addr-pool", POOL)
            token = manager.docker("swarm", "join-token", "--quiet", "worker").strip()
            for node in workers:
                node.docker("swarm", "join", "--token", token, f"{manager.address}:2377")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for node in self.nodes:
            node.clear()

    def load(self, images: Path) -> None:
        """Let each node have what `docker save` has written."""
        for node in self.nodes:
            node.docker("load", "--quiet", "--input", str(images), patience=LOAD_PATIENCE)
        os.sync()  # what is written later would slow down whoever is measured

    def wait_until_ready(self, *nodes: Node) -> None:
        """Wait until just these nodes are ready, as the manager sees it."""
        names = {node.name for node in nodes}

        def ready() -> bool:
            listed = self.manager.docker("node", "ls", "--format", "{{.Hostname}} {{.Status}}").split("\n")
            return {line.split()[0] for line in listed if line.endswith(" Ready")} == names

        wait_for(ready, f"not just {names} are ready", pause=0.5)
