"""A cluster of real processes, each of which can be killed, stopped, told to leave, and started again by its name."""

import http.client
import json
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

PATIENCE: Final = 30.0
"""Seconds until what must happen is taken to have failed."""

POLL: Final = 0.03

LISTENS = re.compile(r"router listens on 127\.0\.0\.1:(\d+)")
SPEAKS_REDIS = re.compile(r"router speaks Redis on 127\.0\.0\.1:(\d+)")


def wait_until(true: Callable[[], object], what: str, patience: float = PATIENCE) -> None:
    """Look again and again. Raises TimeoutError that says what did not come true."""
    end = time.monotonic() + patience
    while not true():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {patience:.0f} s: {what}")
        time.sleep(POLL)


@dataclass(slots=True)
class Process:
    """A command that runs under a name, and its log, which goes on when it is started again."""

    name: str
    command: list[str]
    log: Path
    running: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def pid(self) -> int:
        assert self.running is not None
        return self.running.pid

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.running = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=log)

    def kill(self) -> None:
        """SIGKILL: it has no time to say anything."""
        assert self.running is not None
        self.running.kill()
        self.running.wait()

    def suspend(self) -> None:
        """SIGSTOP: it is there, and does nothing."""
        assert self.running is not None
        self.running.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self.running is not None
        self.running.send_signal(signal.SIGCONT)

    def tell_to_leave(self) -> None:
        """SIGTERM."""
        assert self.running is not None
        self.running.terminate()

    def ended(self) -> int:
        """Wait for the end; the exit code."""
        assert self.running is not None
        return self.running.wait(PATIENCE)

    def leave(self) -> int:
        """SIGTERM, and wait; the exit code."""
        self.tell_to_leave()
        return self.ended()

    def logged(self) -> str:
        return self.log.read_text("utf-8", "replace") if self.log.exists() else ""

    def wait_for_log(self, line: str) -> None:
        wait_until(lambda: line in self.logged(), f"{self.name} logs {line!r}")

    @property
    def resident(self) -> int:
        """Bytes of memory."""
        status = Path(f"/proc/{self.pid}/status").read_text("ascii")
        return 1024 * int(status.partition("VmRSS:")[2].split()[0])

    @property
    def open_files(self) -> int:
        return sum(1 for _ in Path(f"/proc/{self.pid}/fd").iterdir())


@dataclass(slots=True)
class Router(Process):
    """A router, on a port that it keeps when it is started again."""

    port: int = 0

    def start(self) -> None:
        Process.start(self)
        if not self.port:
            wait_until(lambda: LISTENS.search(self.logged()), f"{self.name} listens")
            found = LISTENS.search(self.logged())
            assert found is not None
            self.port = int(found[1])
            self.command[self.command.index("--listen") + 1] = self.url

    @property
    def url(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def redis(self) -> str:
        """Where it speaks Redis."""
        wait_until(lambda: SPEAKS_REDIS.search(self.logged()), f"{self.name} speaks Redis")
        return f"127.0.0.1:{SPEAKS_REDIS.findall(self.logged())[-1]}"

    def get(self, path: str) -> tuple[int, bytes]:
        """Status and body; status 0 where nobody answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()
        except OSError:
            return 0, b""
        finally:
            connection.close()

    def ring(self) -> dict[str, Any]:
        """The topology, as /ring tells it; empty where nobody answers."""
        status, body = self.get("/ring")
        return json.loads(body) if status == 200 else {}

    def served(self) -> str:
        """The id of the dataset that is served, "" where nobody answers."""
        return str(self.ring().get("dataset", ""))

    def serving(self) -> set[str]:
        """The names of the shards that serve."""
        return {shard["name"] for shard in self.ring().get("shards", []) if shard["state"] == "serving"}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a shard runs: the address at which it listens, and the command that its own stands behind."""

    address: str
    within: tuple[str, ...] = ()


class Cluster:
    """Shards and routers by name; `spare` names have a place, but no process yet."""

    def __init__(
        self,
        folder: Path,
        packed: Path,
        *,
        shards: int = 3,
        replicas: int = 1,
        routers: int = 1,
        spare: Iterable[str] = (),
        places: dict[str, Place] | None = None,
        connections: int | None = None,
    ) -> None:
        """A router takes so many `connections`, if not its default."""
        self.folder = folder
        self.names = [f"shard-{number}" for number in range(1, shards + 1)]
        every = [*self.names, *spare]
        # Not in `folder`: the path of a Unix socket has 107 bytes at most.
        self._sockets = tempfile.TemporaryDirectory(prefix="chaos-")
        self._places = places or {name: Place(f"unix:{self._sockets.name}/{name}") for name in every}
        self.shards = {name: self.shard(name, packed) for name in every}
        addresses = ",".join(place.address for place in self._places.values())
        command = [sys.executable, "-m", "ringkv", "router", "--shards", addresses, "--replicas", str(replicas)]
        command += ["--max-connections", str(connections)] if connections else []
        self.routers = [
            Router(name, [*command, "--listen", "127.0.0.1:0", "--redis-listen", "127.0.0.1:0"], folder / f"{name}.log")
            for name in (f"router-{number}" for number in range(1, routers + 1))
        ]

    def shard(self, name: str, packed: Path, at: str | None = None) -> Process:
        """A shard process that calls itself `name`, at the place that was made for `at`; not started."""
        place = self._places[at or name]
        command = [*place.within, sys.executable, "-m", "ringkv", "shard", str(packed), "--leased"]
        return Process(name, [*command, "--listen", place.address, "--name", name], self.folder / f"{at or name}.log")

    @property
    def urls(self) -> list[str]:
        return [router.url for router in self.routers]

    @property
    def router(self) -> Router:
        return self.routers[0]

    def __enter__(self) -> Self:
        try:
            for name in self.names:
                self.shards[name].start()
            for router in self.routers:
                router.start()
            self.wait_until_serving(self.names)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in [*self.routers, *self.shards.values()]:
            if process.running is not None:
                process.kill()
        self._sockets.cleanup()

    def wait_until_serving(self, names: Iterable[str]) -> None:
        """Wait until these and no others serve, by every router."""
        wanted = set(names)
        wait_until(lambda: all(router.serving() == wanted for router in self.routers), f"these serve: {wanted}")

    def wait_until_missed(self, name: str) -> None:
        """Wait until every router has seen that the shard is gone."""
        wait_until(lambda: all(name not in router.serving() for router in self.routers), f"{name} is missed")
