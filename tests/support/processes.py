"""Real processes for tests: started with their output in files, waited for with a deadline, and never left behind."""

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from ringkv.process.address import Address, reserved_ports

T = TypeVar("T")

MARK = "RINGKV_TEST_PROCESS"
PATIENCE = 90.0
"""Seconds after which what was waited for is not going to happen, also on a busy machine."""


def wait_for(what: Callable[[], T | None], reason: str = "", patience: float = PATIENCE, pause: float = 0.01) -> T:
    """What `what` returns, as soon as that is true. It is asked every `pause` seconds."""
    until = time.monotonic() + patience
    while not (found := what()):
        assert time.monotonic() < until, reason or f"{what} did not come true"
        time.sleep(pause)
    return found


async def eventually(what: Callable[[], object], patience: float = PATIENCE) -> None:
    """Let the event loop run until `what` is true."""
    async with asyncio.timeout(patience):
        while not what():  # noqa: ASYNC110 - there is no event for what a test may want to see
            await asyncio.sleep(0.001)


@contextmanager
def short_directory() -> Iterator[Path]:
    """A directory for Unix sockets, whose paths may have 107 bytes."""
    path = Path(tempfile.mkdtemp(prefix="rkv-", dir="/tmp"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


class Spawned:
    """A process with all of its descendants, also those that have left its session or lost their parent."""

    def __init__(self, args: list[str], folder: Path, cache: Path, env: dict[str, str]) -> None:
        self.folder = folder
        self.mark = uuid.uuid4().hex
        self.runtime = folder / "tmp"
        self.runtime.mkdir()
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("RINGKV_")}
        environment = {
            "TMPDIR": str(self.runtime),
            "RINGKV_CACHE": str(cache),
            MARK: self.mark,
            "PYTHONUNBUFFERED": "1",
            "SPT_NOENV": "1",  # setproctitle would write over the environment, by which processes are found here
        }
        with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
            self.process = subprocess.Popen(
                args,
                env=inherited | environment | env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def out(self) -> str:
        return (self.folder / "out").read_text()

    @property
    def err(self) -> str:
        return (self.folder / "err").read_text()

    def wait(self, patience: float = PATIENCE) -> int:
        return self.process.wait(patience)

    def wait_for_line(self, pattern: str, where: str = "err") -> re.Match[str]:
        """The first match of `pattern` in what the process writes."""

        def found() -> re.Match[str] | None:
            match = re.search(pattern, (self.folder / where).read_text())
            assert match or self.process.poll() is None, f"ended with {self.process.returncode}: {self.err}"
            return match

        try:
            return wait_for(found, f"no {pattern!r}")
        except AssertionError as error:
            raise AssertionError(f"{error}\nstdout: {self.out}\nstderr: {self.err}") from None

    def living(self) -> list[int]:
        """The process and its descendants, as far as they live."""
        wanted = f"{MARK}={self.mark}".encode()
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                with suppress(OSError):
                    # A zombie's environment is empty.
                    if wanted in (entry / "environ").read_bytes().split(b"\0"):
                        found.append(int(entry.name))
        return found

    def end(self) -> None:
        """Kill whatever is left of it."""
        while living := self.living():
            for pid in living:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)
        self.process.wait(PATIENCE)


class Spawner:
    """Starts processes that end with the test."""

    def __init__(self, cache: Path) -> None:
        self.cache = cache
        self._stack = ExitStack()

    def __call__(self, *args: str | Path, env: dict[str, str] | None = None) -> Spawned:
        """Start `ringkv ARGS`."""
        return self.run(sys.executable, "-m", "ringkv", *args, env=env)

    def run(self, *args: str | Path, env: dict[str, str] | None = None) -> Spawned:
        """Start any program."""
        folder = self.directory()
        spawned = Spawned([str(arg) for arg in args], folder, self.cache, env or {})
        self._stack.callback(spawned.end)
        return spawned

    def directory(self) -> Path:
        """A new short directory that ends with the test."""
        return self._stack.enter_context(short_directory())

    def ports(self, count: int) -> tuple[Address, ...]:
        """So many addresses of 127.0.0.1 that nobody else is given until the end."""
        return self._stack.enter_context(reserved_ports(0, count))

    def shard(self, data: Path | str, *args: str, env: dict[str, str] | None = None) -> "SpawnedShard":
        """Start `ringkv shard DATA` on a Unix socket, and wait until it serves."""
        address = Address(f"{self.directory()}/s", None)
        spawned = self.run(sys.executable, "-m", "ringkv", "shard", data, "--listen", str(address), *args, env=env)
        spawned.wait_for_line(r"shard .* ready on")
        return SpawnedShard(spawned, address)

    def up(self, data: Path, *args: str) -> "SpawnedCluster":
        """Start `ringkv up DATA --port 0`, and wait for its ready line."""
        return self.cluster(self("up", data, "--port", "0", *args))

    def cluster(self, spawned: Spawned) -> "SpawnedCluster":
        also = r"(?:, redis://[\d.]+:(\d+))?(?:, Redis Cluster 127.0.0.1:(\d+))?"
        match = spawned.wait_for_line(rf"(?m)^ringkv: ready on http://([\d.]+):(\d+){also}$", "out")
        return SpawnedCluster(spawned, match[1], int(match[2]), int(match[3] or 0), int(match[4] or 0))

    def close(self) -> None:
        self._stack.close()


class SpawnedShard:
    def __init__(self, spawned: Spawned, address: Address) -> None:
        self.spawned = spawned
        self.address = address

    @property
    def socket(self) -> str:
        return self.address.host


class SpawnedCluster:
    def __init__(self, spawned: Spawned, host: str, port: int, redis_port: int = 0, node_port: int = 0) -> None:
        self.spawned = spawned
        self.host = host
        self.port = port
        self.redis_port = redis_port  # 0 where it was not asked for
        self.node_port = node_port  # of the first node of the Redis Cluster; the same


def one_line(spawned: Spawned, code: int = 1) -> str:
    """The one line on stderr with which the process has ended."""
    assert spawned.wait() == code, spawned.err
    lines = spawned.err.splitlines()
    assert len(lines) == 1, spawned.err
    assert spawned.out == ""
    assert "Traceback" not in lines[0]
    return lines[0]
