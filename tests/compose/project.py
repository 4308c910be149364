"""A Compose project of this checkout under a name and on ports of its own, so that it meets no other one."""

import json
import os
import re
import subprocess
import urllib.request
import uuid
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from tests.support.data import ROOT
from tests.support.processes import wait_for

BUILD_PATIENCE: Final = 400.0
"""Seconds for the image on a machine that has none of its layers: mostly a download of 90 MB."""

COMMAND_PATIENCE: Final = 90.0

ROLLING_PATIENCE: Final = 300.0
"""Seconds for all shards: each is stopped, started, and asked for its health every 2 s."""

CHANGE = re.compile(r"topology \d+ in .* (\d+) partitions change owner, at least (\d+) have to")


def docker(*args: str, env: dict[str, str] | None = None, patience: float = COMMAND_PATIENCE) -> str:
    """What `docker ARGS` writes to stdout; an AssertionError with its stderr where it fails."""
    done = subprocess.run(
        ["docker", *args], cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=patience
    )
    assert done.returncode == 0, f"docker {' '.join(args)}: {done.stderr or done.stdout}"
    return done.stdout


@dataclass(frozen=True, slots=True)
class Change:
    """What the router says of one change: partitions that got another owner, and the fewest that had to."""

    moved: int
    least: int


class Project:
    """`docker compose` with the repository's compose.yaml; `variables` are what a user would set."""

    def __init__(self) -> None:
        self.name = f"ringkv-test-{uuid.uuid4().hex[:8]}"
        self.variables: dict[str, str] = {}

    @property
    def environment(self) -> dict[str, str]:
        """What a user's shell would hold for this project."""
        ours = ("RINGKV_", "COMPOSE_", "DATA")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        chosen = {"RINGKV_BIND": "127.0.0.1:0", "RINGKV_REDIS_BIND": "127.0.0.1:0", "RINGKV_IMAGE": self.name}
        return inherited | {"COMPOSE_PROJECT_NAME": self.name} | chosen | self.variables

    def compose(self, *args: str, patience: float = COMMAND_PATIENCE) -> str:
        return docker("compose", *args, env=self.environment, patience=patience)

    def build(self) -> None:
        self.compose("build", "--quiet", patience=BUILD_PATIENCE)

    def up(self, shards: int = 3, routers: int = 1) -> None:
        self.compose("up", "--detach", "--scale", f"shard={shards}", "--scale", f"router={routers}")

    def published(self) -> str:
        """The id of the dataset that the newest `up` has published, or found to be served."""
        log = self.compose("logs", "--no-color", "--no-log-prefix", "--tail", "20", "publish")
        return str(re.findall(r"dataset ([0-9a-f]{32})", log)[-1])

    def secret(self) -> str:
        """What routers prove to shards."""
        return docker("exec", f"{self.name}-router-1", "cat", "/secret/secret").strip()

    def publish(self, *args: str) -> str:
        """What `docker compose run --rm publish` prints; an AssertionError with its stderr where it fails."""
        return self.compose("run", "--rm", "--no-deps", "-T", "publish", *args, patience=ROLLING_PATIENCE)

    def restart_one_by_one(self) -> str:
        """What deploy/rolling-restart prints."""
        script = [ROOT / "deploy" / "rolling-restart"]
        done = subprocess.run(
            script,
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=ROLLING_PATIENCE,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def remove(self) -> None:
        """Leave nothing of the project behind, whatever state it is in."""
        with suppress(AssertionError):
            self.unpause()
        self.compose("down", "--volumes", "--remove-orphans", "--rmi", "local", "--timeout", "1")
        # Compose takes an image that has a name for one that others use.
        docker("image", "rm", "--force", self.name)

    def unpause(self) -> None:
        for container in docker("ps", "-q", *self._filters(), "--filter", "status=paused").split():
            docker("unpause", container)

    def inspect(self, service: str) -> list[dict[str, Any]]:
        """The service's containers as Docker sees them, stopped ones too."""
        mine = docker("ps", "--all", "-q", *self._filters(), "--filter", f"label=com.docker.compose.service={service}")
        found: list[dict[str, Any]] = json.loads(docker("inspect", *mine.split())) if mine else []
        return sorted(found, key=lambda container: str(container["Name"]))

    def port(self, router: int = 1, inside: int = 8000) -> int:
        """Where a router's port is published now; each start takes another one."""
        return int(self.compose("port", "--index", str(router), "router", str(inside)).strip().rpartition(":")[2])

    def ring(self, port: int) -> dict[str, Any]:
        """The router's topology, empty as long as it does not answer."""
        return self._json(port, "ring")

    def told(self, port: int) -> dict[str, Any]:
        """The router's figures, as `ring`."""
        return self._json(port, "stats")

    def _json(self, port: int, page: str) -> dict[str, Any]:
        with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/{page}", timeout=5) as response:
            found: dict[str, Any] = json.load(response)
            return found
        return {}

    def serving(self, port: int) -> list[str]:
        """The names of the shards that serve, in order."""
        return [shard["name"] for shard in self.ring(port).get("shards", []) if shard["state"] == "serving"]

    def wait_until_serving(self, *numbers: int, port: int | None = None) -> None:
        """Wait until the shards of just these numbers serve."""
        wanted = [f"{self.name}-shard-{number}" for number in numbers]
        asked = self.port() if port is None else port
        wait_for(lambda: self.serving(asked) == wanted, f"{wanted} do not serve")

    def changes(self, router: int = 1) -> list[Change]:
        """All changes of the cluster that the router has logged."""
        log = self.compose("logs", "--no-color", "--no-log-prefix", "--index", str(router), "router")
        return [Change(int(moved), int(least)) for moved, least in CHANGE.findall(log)]

    def _filters(self) -> tuple[str, str]:
        return "--filter", f"label=com.docker.compose.project={self.name}"
