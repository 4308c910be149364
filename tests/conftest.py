"""What all tests share: processes that end with their test, and data files that are packed once a run."""

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from filelock import FileLock

from ringkv.dataset.generate import lines
from ringkv.dataset.packing.local import pack
from tests.support.data import EXAMPLE, read_pairs
from tests.support.processes import SpawnedShard, Spawner
from tests.support.published import Published
from tests.support.resp import Client
from tests.support.store import StoreServer


def pytest_configure() -> None:
    """Take Ctrl-C as a terminal's programs do, also where the tests run in the background of a script.

    A shell lets its background jobs ignore SIGINT, and whatever they start inherits that: no test could press Ctrl-C.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One worker more than there are processors, which tests that wait for time-outs and processes leave idle."""
    return 1 + len(os.sched_getaffinity(0))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A skipped test is a failed run in CI: a machine that lacks something must not pass for one that has it."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") == "true" and reporter is not None and reporter.stats.get("skipped"):
        reporter.write_line("CI must not skip tests: install what they need in .ci/run", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of this run see."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def cache(shared_folder: Path) -> Path:
    """The cache of datasets of all processes that tests start."""
    return shared_folder / "cache"


@pytest.fixture
def spawn(cache: Path) -> Iterator[Spawner]:
    """Starts processes; kills what is left of them when the test ends."""
    spawner = Spawner(cache)
    yield spawner
    spawner.close()


@pytest.fixture
def connect() -> Iterator[Callable[[SpawnedShard], Client]]:
    """Connections to shards on Unix sockets, which end with the test."""
    with ExitStack() as stack:

        def opened(shard: SpawnedShard) -> Client:
            client = socket.socket(socket.AF_UNIX)
            stack.callback(client.close)
            client.settimeout(30)
            client.connect(shard.socket)
            return Client(client)

        yield opened


@pytest.fixture
def published(tmp_path: Path) -> Published:
    """A catalog in a folder, with its first version."""
    made = Published(tmp_path / "catalog")
    made.publish(1)
    return made


@pytest.fixture(scope="module")
def module_spawn(cache: Path) -> Iterator[Spawner]:
    """The same for processes that the tests of one file share."""
    spawner = Spawner(cache)
    yield spawner
    spawner.close()


@pytest.fixture(scope="session")
def generated(shared_folder: Path) -> Callable[..., tuple[Path, Path]]:
    """Makes a data file of so many pairs and its dataset, once a run."""

    def make(pairs: int, seed: int = 7, value_size: int | None = None) -> tuple[Path, Path]:
        data = shared_folder / f"{pairs}-{seed}-{value_size}.data"
        packed = data.with_suffix("")
        with FileLock(f"{data}.lock"):
            if not packed.exists():
                with data.open("wb") as file:
                    file.writelines(lines(pairs, seed, value_size))
                pack(data, packed)
        return data, packed

    return make


@pytest.fixture(scope="session")
def store() -> Iterator[StoreServer]:
    """An object store, started when a test wants one. Each worker has its own."""
    server = StoreServer()
    yield server
    server.close()


@pytest.fixture
def bucket(store: StoreServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of an empty prefix of the store, to which this test and all that it starts can log in."""
    for name, value in store.env.items():
        monkeypatch.setenv(name, value)
    return store.location()


@pytest.fixture(scope="session")
def example_pairs() -> dict[bytes, bytes]:
    return dict(read_pairs(EXAMPLE))


@pytest.fixture(scope="session")
def tool() -> Callable[..., str]:
    """Runs a program that the tests need; where it is missing the test is skipped, and in CI it fails."""

    def run(name: str, *args: str, env: dict[str, str] | None = None, stdin: bytes = b"") -> str:
        program = shutil.which(name)
        if program is None:
            reason = f"{name} is not installed"
            if os.environ.get("CI") == "true":
                pytest.fail(f"{reason}, and CI must not skip its tests")
            pytest.skip(reason)
        done = subprocess.run(
            [program, *args], env=os.environ | (env or {}), input=stdin, capture_output=True, check=False, timeout=60
        )
        return (done.stdout + done.stderr).decode()

    return run
