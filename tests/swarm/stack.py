"""deploy/swarm.yaml on a Swarm: deployed, changed and looked at as its users do."""

import json
import os
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.support.data import ROOT
from tests.support.processes import wait_for
from tests.swarm.nodes import Node, Swarm

FILE: Final = ROOT / "deploy" / "swarm.yaml"

NAME: Final = "ringkv"

PORT: Final = 8000

CHANGE_PATIENCE: Final = 300.0
"""Seconds for all tasks of a service, one after the other, each with its pause."""

LOOK: Final = 1.0
"""Seconds between two looks: each starts processes, and the nodes need the cores."""


@dataclass(slots=True)
class Stack:
    """`variables` are what a user's shell holds; `folder` is where the load may write."""

    swarm: Swarm
    variables: dict[str, str]
    folder: Path

    @property
    def urls(self) -> list[str]:
        """Where the routers answer, one on each node."""
        return [f"{node.address}:{PORT}" for node in self.swarm.nodes]

    def deploy(self, **changed: str) -> None:
        """`docker stack deploy`, with other variables than the last time if some are given."""
        self.variables |= changed
        ours = ("RINGKV_", "AWS_", "AZURE_", "CATALOG")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        command = ("stack", "deploy", "--resolve-image=never", f"--compose-file={FILE}", NAME)
        self.swarm.manager.docker(*command, env=inherited | self.variables)

    def scale(self, shards: int) -> None:
        self.swarm.manager.docker("service", "scale", "--detach", f"{NAME}_shard={shards}")

    def spread(self) -> None:
        """Let shards that have come together on one node part again."""
        self.swarm.manager.docker("service", "update", "--detach", "--force", f"{NAME}_shard")
        self.wait_until_updated("shard")

    def shards(self) -> dict[str, str]:
        """The names of the shards that are to run, with their nodes, "" as long as they have none."""
        found = {}
        options = ("--filter", "desired-state=running", "--format", "{{.Name}} {{.Node}}")
        for line in self.swarm.manager.docker("service", "ps", *options, f"{NAME}_shard").splitlines():
            task, _, node = line.partition(" ")
            found[f"shard-{task.rpartition('.')[2]}"] = node
        return found

    def images(self) -> set[str]:
        """Of all tasks that are to run."""
        options = ("--filter", "desired-state=running", "--format", "{{.Image}}")
        return set(self.swarm.manager.docker("stack", "ps", *options, NAME).split())

    def wait_until_updated(self, *services: str) -> None:
        def updated() -> bool:
            names = [f"{NAME}_{service}" for service in services]
            found = json.loads(self.swarm.manager.docker("service", "inspect", *names))
            states = [(service.get("UpdateStatus") or {}).get("State") for service in found]
            assert "paused" not in states, found
            return set(states) == {"completed"}

        wait_for(updated, f"{services} are not updated", CHANGE_PATIENCE, LOOK)

    def wait_until_serving(self, count: int) -> None:
        """Wait until so many shards are to run, and until the routers of all living nodes serve from just these."""

        def serving() -> bool:
            names = set(self.shards())
            return len(names) == count and all(self.serving(node) == names for node in self.swarm.living)

        wait_for(serving, f"not {count} shards serve everywhere", CHANGE_PATIENCE, LOOK)

    def wait_until_served(self, serial: int) -> None:
        """Wait until all living nodes answer of this version."""
        wait_for(
            lambda: all(self.ask(node, "ring").get("serial") == serial for node in self.swarm.living),
            f"version {serial} is not served",
            pause=LOOK,
        )

    def serving(self, node: Node) -> set[str]:
        """The shards that serve, as the node's router tells it."""
        return {shard["name"] for shard in self.ask(node, "ring").get("shards", []) if shard["state"] == "serving"}

    def ask(self, node: Node, path: str) -> dict[str, Any]:
        """What the node's router tells; empty where it does not."""
        with suppress(OSError), urllib.request.urlopen(f"http://{node.address}:{PORT}/{path}", timeout=5) as response:
            found: dict[str, Any] = json.load(response)
            return found
        return {}

    def value(self, node: Node, key: bytes) -> bytes:
        with urllib.request.urlopen(f"http://{node.address}:{PORT}/{key.decode()}", timeout=20) as response:
            content: bytes = response.read()
        return content
