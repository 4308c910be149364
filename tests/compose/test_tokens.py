"""A file of tokens that Compose mounts: who may read follows it, or the log says why it does not."""

import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.compose.project import Project
from tests.support.processes import wait_for
from tests.support.visitors import KEY

pytestmark = [pytest.mark.xdist_group("compose"), pytest.mark.timeout(500)]


def status(port: int, token: str) -> int:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/{KEY}", headers={"Authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def test_tokens_in_another_file_of_the_name_are_asked_for_or_taken_with_a_restart(
    cluster: Project, tmp_path: Path
) -> None:
    tokens, other = tmp_path / "tokens", tmp_path / "other"
    tokens.write_text("old\n")
    cluster.variables = {"RINGKV_READ_TOKENS": str(tokens)}
    cluster.up()
    wait_for(lambda: status(cluster.port(), "old") == 200, "the token is not taken")
    tokens.write_text("old\nboth\n")  # in place
    cluster.compose("kill", "--signal", "HUP", "router")
    wait_for(lambda: status(cluster.port(), "both") == 200, "the file was not read again")
    other.write_text("both\n")
    other.replace(tokens)  # as `mv`, `sed -i` and editors do
    cluster.compose("kill", "--signal", "HUP", "router")
    said = "tokens cannot be read: /run/secrets/read-tokens was replaced where it is mounted from"
    wait_for(lambda: said in cluster.compose("logs", "--tail", "5", "router"), "nobody is told")
    cluster.compose("restart", "router")
    wait_for(lambda: status(cluster.port(), "both") == 200, "the other file is not taken")
    assert status(cluster.port(), "old") == 401
