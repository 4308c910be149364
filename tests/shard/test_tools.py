"""Redis's own programs work with a shard as they are."""

import re
from collections.abc import Callable

from tests.support.processes import SpawnedShard

KEY = "f8a24bb8-eff8-41dc-929b-10b4c3e49e05"
Tool = Callable[..., str]


def test_redis_cli_reads_values(example_shard: SpawnedShard, tool: Tool) -> None:
    def cli(*args: str) -> str:
        return tool("redis-cli", "-s", example_shard.socket, *args)

    assert cli("GET", KEY) == "1234\n"
    assert cli("-3", "GET", KEY.upper()) == "1234\n"
    assert cli("MGET", KEY, "0cdfafb5-edb4-48a6-a7ec-5b1a75831f91") == "1234\nhere is another value\n"
    assert cli("DBSIZE") == "10000\n"
    assert cli("EXISTS", KEY) == "1\n"
    assert cli("GET", KEY.replace("f", "0")) == "\n"
    assert cli("SET", KEY, "x").startswith("READONLY ")
    assert "leased_keys:10000" in cli("INFO")


def test_redis_benchmark_runs(example_shard: SpawnedShard, tool: Tool) -> None:
    shown = tool("redis-benchmark", "-s", example_shard.socket, "-n", "20000", "-c", "20", "-P", "8", "-q", "GET", KEY)
    match = re.search(r"([\d.]+) requests per second", shown.replace("\r", "\n"))
    assert match, shown
    assert float(match[1]) > 0
    assert "error" not in shown.lower()
