"""A real Prometheus server on a free port of loopback, asked over its HTTP API."""

import json
import socket
import urllib.parse
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.support.processes import Spawned, Spawner, wait_for


class Prometheus:
    def __init__(self, spawned: Spawned) -> None:
        self.spawned = spawned
        self._port = wait_for(lambda: listening_port(spawned.pid), "Prometheus does not listen")
        wait_for(self._ready, "Prometheus is not ready")

    @classmethod
    def start(cls, spawn: Spawner, config: Path) -> "Prometheus":
        return cls(
            spawn.run(
                "prometheus",
                f"--config.file={config}",
                f"--storage.tsdb.path={config.parent}/data",
                "--web.listen-address=127.0.0.1:0",
            )
        )

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series of an instant query, each with its labels as `metric`; an error fails."""
        answer = self._ask(f"query?{urllib.parse.urlencode({'query': expression})}")
        found: list[dict[str, Any]] = answer["result"]
        return found

    def rules(self) -> list[dict[str, Any]]:
        """All alert rules with their state and their health."""
        return [rule for group in self._ask("rules")["groups"] for rule in group["rules"]]

    def targets(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._ask("targets")["activeTargets"]
        return found

    def _ask(self, target: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/api/v1/{target}", timeout=20) as response:
            answer = json.load(response)
        assert answer["status"] == "success", answer
        return answer["data"]

    def _ready(self) -> bool:
        with (
            suppress(OSError),
            urllib.request.urlopen(f"http://127.0.0.1:{self._port}/-/ready", timeout=20) as response,
        ):
            return bool(response.status == 200)
        return False


def listening_port(pid: int) -> int | None:
    """The TCP port on which a process listens, on loopback, as the kernel tells it."""
    loopback = f"{int.from_bytes(socket.inet_aton('127.0.0.1'), 'little'):08X}"
    lines = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    ports = {f"socket:[{at[9]}]": int(at[1].split(":")[1], 16) for at in lines if at[3] == "0A" and loopback in at[1]}
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            if (opened := str(entry.readlink())) in ports:
                return ports[opened]
    return None
