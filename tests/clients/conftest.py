"""What real clients are tried against: a cluster's router and a shard that serves everything alone, both on TCP."""

import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock

from tests.support.data import EXAMPLE, ROOT
from tests.support.processes import PATIENCE, Spawner, wait_for
from tests.support.resp import Client


@dataclass(frozen=True)
class Served:
    """A Redis port on this host, and the shards behind it."""

    port: int
    shards: int


@pytest.fixture(scope="session")
def session_spawn(cache: Path) -> Iterator[Spawner]:
    spawner = Spawner(cache)
    yield spawner
    spawner.close()


@pytest.fixture(scope="session")
def router(session_spawn: Spawner) -> Served:
    return Served(session_spawn.up(EXAMPLE, "--redis-port", "0").redis_port, shards=3)


@pytest.fixture(scope="session")
def shard(session_spawn: Spawner) -> Served:
    spawned = session_spawn("shard", EXAMPLE, "--listen", "127.0.0.1:0")
    spawned.wait_for_line("shard .* ready on")
    return Served(wait_for(lambda: listening_port(spawned.pid)), shards=1)


@pytest.fixture(params=["router", "shard"])
def server(request: pytest.FixtureRequest) -> Served:
    """One after the other: whatever a client does, it does with both."""
    served: Served = request.getfixturevalue(request.param)
    return served


def listening_port(pid: int) -> int:
    """The TCP port on which a process listens, 0 where there is none yet."""
    sockets = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            sockets.add(str(descriptor.readlink()))
    for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
            return int(fields[1].split(":")[1], 16)
    return 0


@pytest.fixture(scope="session")
def redis_server(session_spawn: Spawner, tool: Callable[..., str], example_pairs: dict[bytes, bytes]) -> Path:
    """The socket of a Redis that holds the same pairs."""
    path = session_spawn.directory() / "redis"
    tool("redis-server", "--version")
    # With a title of its own it would hide the mark by which it is ended.
    options = ("--port", "0", "--unixsocket", path, "--save", "", "--dir", path.parent, "--set-proc-title", "no")
    # Its socket is there before it listens.
    session_spawn.run("redis-server", *options).wait_for_line("eady to accept connections", "out")
    with closing(socket.socket(socket.AF_UNIX)) as connected:
        connected.settimeout(PATIENCE)
        connected.connect(str(path))
        client = Client(connected)
        pairs = list(example_pairs.items())
        for start in range(0, len(pairs), 1000):
            assert client("MSET", *[part for pair in pairs[start : start + 1000] for part in pair]) == b"OK"
    return path


@pytest.fixture(scope="session")
def sample(example_pairs: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """Pairs enough to meet every owner, and values of all kinds of bytes."""
    return dict(list(example_pairs.items())[:500])


@pytest.fixture(scope="session")
def node_path(tool: Callable[..., str]) -> Path:
    """The folder of the packages for Node.js that package.json names, installed once."""
    packages: dict[str, str] = json.loads(Path(__file__).with_name("package.json").read_text())["dependencies"]
    folder = ROOT / "build" / "node"
    folder.mkdir(parents=True, exist_ok=True)

    def missing() -> list[str]:
        manifests = {name: folder / "node_modules" / name / "package.json" for name in packages}
        return [
            f"{name}@{packages[name]}"
            for name, manifest in manifests.items()
            if not manifest.exists() or json.loads(manifest.read_text())["version"] != packages[name]
        ]

    said = ""
    with FileLock(folder / "lock"):
        if missing():
            options = ("--no-save", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(folder))
            said = tool("npm", "install", *options, *(f"{name}@{version}" for name, version in packages.items()))
    if absent := missing():
        reason = f"npm cannot install {absent}: {said[-300:]}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return folder / "node_modules"
