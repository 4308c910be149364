"""What docs/clients.md says of clients: the versions in its table are those that are tested, and its retries work."""

import json
import re
from collections.abc import Callable
from pathlib import Path

from tests.client.stub import PLAIN, Handler, Router, running
from tests.docs.tables import rows
from tests.support.data import ROOT

PYTHON = {"redis-py": "redis", "hiredis-py": "hiredis", "coredis": "coredis", "valkey-glide": "valkey-glide"}
NODE = {"redis (node-redis)": "redis", "ioredis": "ioredis"}
TOOLS = {"redis-cli", "redis-benchmark"}


def documented() -> dict[str, str]:
    text = (ROOT / "docs" / "clients.md").read_text()
    return {row.cells["client"]: row.cells["version"] for row in rows(text) if row.heading == "Redis clients"}


def test_the_documented_versions_are_those_that_are_pinned() -> None:
    pinned = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split())
    packages = json.loads(Path(__file__).with_name("package.json").read_text())["dependencies"]
    expected = {client: pinned[name] for client, name in PYTHON.items()}
    expected |= {client: packages[name] for client, name in NODE.items()}
    assert {client: version for client, version in documented().items() if client not in TOOLS} == expected


def test_the_tools_are_no_older_than_documented(tool: Callable[..., str]) -> None:
    for name in TOOLS:
        shown = tool(name, "--version")
        version = re.search(r"\d+\.\d+", shown)
        assert version, shown
        assert tuple(map(int, version[0].split("."))) >= tuple(map(int, documented()[name].split(".")))


def test_the_program_for_node_asks_again_where_an_idle_connection_was_closed(tool: Callable[..., str]) -> None:
    text = (ROOT / "docs" / "clients.md").read_text()
    (program,) = re.findall(r"^async function get\(key\) {$.*?^}$", text, re.DOTALL | re.MULTILINE)
    with running(Router("127.0.0.1")) as router:
        router.faults += [Handler.answer, Handler.hang_up]
        twice = f"""
            const ROUTER = "{router.url}";
            {program}
            const first = await get("{PLAIN}");
            await new Promise((done) => setTimeout(done, 0)); // with which its connection is idle
            console.log(String(first), "and", String(await get("{PLAIN}")));
        """
        assert tool("node", "--input-type=module", "--eval", twice) == "the value and the value\n"
        assert (len(router.paths), router.connections) == (3, 2)
