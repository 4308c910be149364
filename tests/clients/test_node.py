"""Clients for Node.js with their defaults."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clients.conftest import Served
from tests.support.data import EXAMPLE


@pytest.mark.parametrize("client", ["redis", "ioredis"])
def test_a_program_in_javascript_reads_every_pair(
    server: Served, tool: Callable[..., str], node_path: Path, client: str
) -> None:
    script = Path(__file__).with_name("read_all.cjs")
    shown = tool("node", str(script), client, str(server.port), str(EXAMPLE), env={"NODE_PATH": str(node_path)})
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
