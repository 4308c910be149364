"""deploy/rolling-restart where shards do not come back, or are not there; tests/compose runs it with shards that do."""

import os
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.support.data import ROOT

DOCKER: Final = """#!/bin/sh
case $1 in
    compose) {compose} ;;
    restart) echo "restarted $2" >&2 ;;
    inspect) {inspect} ;;
esac
"""

TWO: Final = "echo one; echo two"


def restarted(folder: Path, compose: str = TWO, inspect: str = "") -> tuple[int, list[str]]:
    """How the script ends, and its lines on stderr, where Docker answers with these commands."""
    docker = folder / "docker"
    docker.write_text(DOCKER.format(compose=compose, inspect=inspect))
    docker.chmod(0o755)
    environment = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"}
    script = [ROOT / "deploy" / "rolling-restart"]
    done = subprocess.run(script, env=environment, capture_output=True, text=True, check=False, timeout=30)
    return done.returncode, done.stderr.splitlines()


def test_a_shard_that_was_removed_ends_it_with_the_reason(tmp_path: Path) -> None:
    found = restarted(tmp_path, inspect='echo "Error: No such object: one" >&2; exit 1')
    assert found == (1, ["restarted one", "Error: No such object: one"])


@pytest.mark.parametrize("state", ["restarting 1 unhealthy", "running 2 starting", "exited 0 unhealthy"])
def test_a_shard_that_does_not_come_back_ends_it_before_the_next_one_goes(tmp_path: Path, state: str) -> None:
    told = f'case $3 in *back*) echo "one does not come back" ;; *) echo "{state}" ;; esac'
    assert restarted(tmp_path, inspect=told) == (1, ["restarted one", "one does not come back"])


def test_what_compose_cannot_tell_is_no_success(tmp_path: Path) -> None:
    found = restarted(tmp_path, compose="echo no configuration file provided: not found >&2; exit 14")
    assert found == (14, ["no configuration file provided: not found"])


def test_no_shard_is_no_success(tmp_path: Path) -> None:
    assert restarted(tmp_path, compose=":") == (1, ["rolling-restart: no shard of the Compose project is running"])
