"""Three nodes, a bucket that all of them reach, and the stack on them: made once, and mended for each test."""

import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import count
from pathlib import Path
from typing import Final

import pytest

from ringkv.dataset.generate import lines
from tests.chaos import network
from tests.chaos.network import Network
from tests.chaos.run import Run, Scale, under_load
from tests.compose.project import docker
from tests.support.data import ROOT
from tests.support.processes import short_directory
from tests.support.store import StoreServer
from tests.swarm.nodes import Swarm
from tests.swarm.stack import Stack

NODES: Final = ["node-1", "node-2", "node-3"]

SCALE: Final = Scale(pairs=100_000, rate=1000, rounds=1, victims=1, hold=5.0, quiet=2.0, full=True)

CLIENT_PATIENCE: Final = 0.5
"""Seconds without an answer after which clients ask another node: some 100 times as long as a slow answer takes."""

BUILD_PATIENCE: Final = 400.0

Publish = Callable[[], int]
"""Publishes the next version of the data, in which each value begins with the number that is returned."""

Unharmed = Callable[[str, float], AbstractContextManager[Run]]


@pytest.fixture(scope="module")
def net() -> Iterator[Network]:
    """The network of the nodes; what the tests start is in its hub."""
    if not network.usable():
        reason = "needs root, iproute2 and iptables for network namespaces"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    with Network(NODES) as net, net.entered():
        yield net


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[list[str], Path]]:
    """The image under two tags, which differ as the images of two releases do, and the file that holds both."""
    name = f"ringkv-test-{uuid.uuid4().hex[:8]}"
    tags = [f"{name}:{release}" for release in (1, 2)]
    saved = tmp_path_factory.mktemp("images") / "images.tar"
    try:
        for tag in tags:
            build = ("build", "--quiet", "--file", "deploy/Dockerfile", "--tag", tag, "--label", f"release={tag}", ".")
            docker(*build, patience=BUILD_PATIENCE)
        docker("save", "--output", str(saved), *tags, patience=BUILD_PATIENCE)
        yield tags, saved
    finally:
        docker("image", "rm", "--force", *tags)
        saved.unlink(missing_ok=True)


@pytest.fixture(scope="module")
def swarm(net: Network, images: tuple[list[str], Path]) -> Iterator[Swarm]:
    with short_directory() as folder, Swarm(net, NODES, folder) as swarm:
        swarm.load(images[1])
        yield swarm


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data without what tells the versions apart."""
    path = tmp_path_factory.mktemp("data") / "data"
    with path.open("wb") as file:
        file.writelines(lines(SCALE.pairs, 7))
    return path


@pytest.fixture(scope="module")
def store(net: Network) -> Iterator[StoreServer]:
    """A store that all nodes reach."""
    server = StoreServer(net.hub)
    yield server
    server.close()


@pytest.fixture(scope="module")
def catalog(store: StoreServer) -> str:
    return store.location()


@pytest.fixture(scope="module")
def publish(store: StoreServer, catalog: str, text: Path) -> Publish:
    def published() -> int:
        number = next(numbers)
        path = text.with_name(f"data-{number}")
        with text.open("rb") as source, path.open("wb") as file:
            file.writelines(line[:37] + b"v%d " % number + line[37:] for line in source)
        command = [sys.executable, "-m", "ringkv", "publish", str(path), catalog]
        environment = os.environ | store.env | {"RINGKV_CACHE": str(text.parent / "cache")}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return number

    numbers = count(1)
    return published


@pytest.fixture(scope="module")
def deployed(
    swarm: Swarm, variables: dict[str, str], publish: Publish, tmp_path_factory: pytest.TempPathFactory
) -> Stack:
    publish()
    folder = tmp_path_factory.mktemp("stack")
    secret = folder / "secret"
    secret.write_text("between us")
    swarm.manager.docker("secret", "create", "ringkv-secret", str(secret))
    stack = Stack(swarm, variables, folder)
    stack.deploy()
    return stack


@pytest.fixture(scope="module")
def variables(images: tuple[list[str], Path], catalog: str, store: StoreServer) -> dict[str, str]:
    """What is set where the stack is deployed."""
    return {"RINGKV_IMAGE": images[0][0], "CATALOG": catalog} | store.env


@pytest.fixture
def stack(deployed: Stack) -> Stack:
    """Three shards, one on each node, whatever came before; they serve at every node."""
    deployed.scale(len(NODES))
    deployed.wait_until_serving(len(NODES))
    if len(set(deployed.shards().values())) < len(NODES):
        deployed.spread()
        deployed.wait_until_serving(len(NODES))
    return deployed


@pytest.fixture
def unharmed(stack: Stack, text: Path) -> Unharmed:
    """`unharmed(event, longest)`: ask all nodes while the body runs, and demand an answer to everything.

    `longest` is the most that one request may have waited, in seconds.
    """

    @contextmanager
    def loaded(event: str, longest: float) -> Iterator[Run]:
        with under_load(stack, text, SCALE, patience=CLIENT_PATIENCE, versioned=True) as run:
            yield run
        measured = run.result
        told = (
            f"{event}: {measured.requests:,} requests, {measured.rate:.0f}/s, {measured.wrong} wrong, "
            f"{measured.failed} failed, {measured.retried} asked again, longest {measured.longest:.2f} s, "
            f"99.9 % within {measured.percentile(99.9):.3f} s, the load itself late by up to {measured.lag:.2f} s"
        )
        sys.stdout.write(f"\n{told}\n")
        assert (measured.wrong, measured.failed) == (0, 0), told
        assert measured.longest <= longest, told
        assert measured.rate > 0.95 * SCALE.rate, told

    return loaded
