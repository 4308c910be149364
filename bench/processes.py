"""Processes of a benchmark: started in a session of their own, watched, and ended by their ids, whatever happens."""

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Self, TypeVar

from bench.errors import BenchmarkFailed
from bench.usage import descendants

T = TypeVar("T")

PATIENCE: Final = 60.0
"""Seconds after which a program that should be ready is not going to be."""

STOP_SECONDS: Final = 15.0
"""After this a program that was told to stop is killed: longer than a cluster drains."""

POLL: Final = 0.005

INTERRUPTIONS: Final = (signal.SIGINT, signal.SIGTERM)


class Processes:
    """The processes of one peer, and a folder for their sockets and logs; all are ended on leaving."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._started: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *_error: object) -> None:
        with _uninterrupted():
            for process in reversed(self._started):
                _end(process)
            self._started.clear()

    def start(
        self, name: str, *args: str | Path, environment: Mapping[str, str] | None = None
    ) -> "subprocess.Popen[bytes]":
        """Start a program; what it writes goes to NAME.log in the folder."""
        # Out of reach of the terminal's Ctrl-C: the order in which things end is decided here.
        with (self.folder / f"{name}.log").open("wb") as log, _uninterrupted():
            process = subprocess.Popen(
                [str(arg) for arg in args],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=os.environ | (environment or {}),
            )
            self._started.append(process)
        return process

    def roots(self) -> list[int]:
        """The processes that were started here, living or not."""
        return [process.pid for process in self._started]

    def pids(self) -> list[int]:
        """All living processes, children included."""
        return descendants(self.roots())

    def wait_for(self, what: Callable[[], T | None], reason: str) -> T:
        """What `what` returns, as soon as that is true. Raises BenchmarkFailed when a process ends before."""
        until = time.monotonic() + PATIENCE
        while not (found := what()):
            ended = [process for process in self._started if process.poll() is not None]
            if ended or time.monotonic() > until:
                logs = "\n".join(_last_lines(path) for path in sorted(self.folder.glob("*.log")))
                raise BenchmarkFailed(f"{reason}\n{logs}")
            time.sleep(POLL)
        return found

    def wait_for_socket(self, path: Path) -> None:
        """Until something listens on a Unix socket."""

        def listens() -> bool:
            with suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
                probe.connect(str(path))
                return True
            return False

        self.wait_for(listens, f"nothing listens on {path}")

    def wait_for_port(self, port: int) -> None:
        """Until something listens on a port of the loopback interface."""

        def listens() -> bool:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return True
            return False

        self.wait_for(listens, f"nothing listens on port {port}")


def free_port() -> int:
    """A port of the loopback interface that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def run(*args: str | Path, environment: Mapping[str, str] | None = None, source: Path | None = None) -> float:
    """Run a program to its end; its seconds. `source` becomes its standard input. Raises BenchmarkFailed."""
    with (source or Path(os.devnull)).open("rb") as stdin:
        start = time.perf_counter()
        done: subprocess.Popen[bytes] | None = None
        try:
            with _uninterrupted():
                done = subprocess.Popen(
                    [str(arg) for arg in args],
                    stdin=stdin,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    env=os.environ | (environment or {}),
                )
            output, _ = done.communicate(timeout=1800)
        finally:
            if done is not None:
                _end(done)
        elapsed = time.perf_counter() - start
    if done.returncode != 0:
        command: Sequence[str] = [str(arg) for arg in args]
        raise BenchmarkFailed(f"{' '.join(command)} failed:\n{output.decode(errors='replace')[-2000:]}")
    return elapsed


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let Ctrl-C wait until the body is done: between a process's start and its entry in a list it would be lost."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = {number: signal.signal(number, lambda got, _frame: came.append(got)) for number in INTERRUPTIONS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        raise KeyboardInterrupt


def _end(process: "subprocess.Popen[bytes]") -> None:
    """SIGTERM to the one that was started, SIGKILL to what is left of its tree."""
    tree = descendants([process.pid])
    if process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
    left = [pid for pid in tree if Path(f"/proc/{pid}").exists() and pid != process.pid]
    until = time.monotonic() + 1
    while left and time.monotonic() < until:
        time.sleep(POLL)
        left = [pid for pid in left if Path(f"/proc/{pid}").exists()]
    for pid in left:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.kill()
    process.wait()


def _last_lines(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-10:]
    return "\n".join(f"{log.name}: {line}" for line in lines)
