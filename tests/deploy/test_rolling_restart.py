"""deploy/rolling-restart where a shard goes for good meanwhile; tests/compose runs it with shards that come back."""

import os
import subprocess
from pathlib import Path
from typing import Final

from tests.support.data import ROOT

DOCKER: Final = """#!/bin/sh
case $1 in
    compose) echo one; echo two ;;
    restart) echo "restarted $2" >&2 ;;
    inspect) echo "Error: No such object: one" >&2; exit 1 ;;
esac
"""


def test_a_shard_that_was_removed_ends_it_with_the_reason(tmp_path: Path) -> None:
    docker = tmp_path / "docker"
    docker.write_text(DOCKER)
    docker.chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    script = [ROOT / "deploy" / "rolling-restart"]
    done = subprocess.run(script, env=environment, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 1
    assert done.stderr.splitlines() == ["restarted one", "Error: No such object: one"]
