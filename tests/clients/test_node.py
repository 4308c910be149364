"""Clients for Node.js with their defaults, and node-redis in both versions of the protocol."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clients.conftest import Served
from tests.support.data import EXAMPLE


@pytest.mark.parametrize(("client", "protocol"), [("redis", "2"), ("redis", "3"), ("ioredis", "")])
def test_a_program_in_javascript_reads_every_pair(
    server: Served, tool: Callable[..., str], node_path: Path, client: str, protocol: str
) -> None:
    script = Path(__file__).with_name("read_all.cjs")
    what = (client, str(server.port), str(EXAMPLE), protocol)
    shown = tool("node", str(script), *what, env={"NODE_PATH": str(node_path)})
    assert json.loads(shown) == {
        "single": [10_000, 0],
        "many": 0,
        "pipeline": 0,
        "multi": 0,
        "keys": 10_000,
        "type": "string",
        "size": 10_000,
        "missing": None,
        "refused": "READONLY the dataset is immutable: a new version of the data is a new file",
    }
