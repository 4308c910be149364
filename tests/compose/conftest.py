"""One Compose project for all tests here, as an image and its containers take long to come about."""

import os
import subprocess
from collections.abc import Iterator

import pytest

from tests.compose.project import Project


@pytest.fixture(scope="session")
def project() -> Iterator[Project]:
    """The project with its image built. Without an engine the test is skipped, and in CI it fails."""
    if reason := _missing():
        if os.environ.get("CI") == "true":
            pytest.fail(f"{reason}, and CI must not skip its tests")
        pytest.skip(reason)
    project = Project()
    try:
        project.build()
        yield project
    finally:
        project.remove()


@pytest.fixture
def cluster(project: Project) -> Iterator[Project]:
    """The project with three shards and one router that serve the example, whatever came before."""
    project.variables = {
        "RINGKV_FORCE_SWAP": "1"
    }  # an earlier test may have published what shares no key with the example
    project.unpause()
    project.up()
    project.variables = {}
    project.wait_until_serving(1, 2, 3)
    assert project.ring(project.port())["dataset"] == project.published()
    yield project
    print(project.compose("logs", "--no-color", "--timestamps", "--tail", "40"))  # noqa: T201 - shown where it failed


def _missing() -> str:
    for args in (["docker", "info"], ["docker", "compose", "version"]):
        try:
            done = subprocess.run(args, capture_output=True, text=True, check=False, timeout=30)
        except OSError:
            return "docker is not installed"
        if done.returncode:
            return f"`{' '.join(args)}` fails: {done.stderr.strip()}"
    return ""
