"""A command loads the libraries that it needs and no others: `ringkv get` starts in a moment, a shard stays small.

Python itself tells what was imported, with -X importtime.
"""

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Final

import pytest

from ringkv.dataset.packing.local import pack
from tests.support.certificates import Authority
from tests.support.data import EXAMPLE, ROOT
from tests.support.processes import SpawnedCluster, Spawner

WATCHED: Final = frozenset(
    {
        "aiohttp",
        "argparse",
        "asyncio",
        "hiredis",
        "http.client",
        "numpy",
        "platformdirs",
        "prometheus_client",
        "pyarrow",
        "rich",
        "tenacity",
        "uhashring",
        "uvloop",
    }
)
"""The libraries that take time or memory to import."""

SERVES: Final = frozenset({"asyncio", "hiredis", "uhashring", "uvloop"})
HTTP: Final = frozenset({"aiohttp", "argparse", "http.client", "prometheus_client"})
"""What it takes to serve, and to speak HTTP, too."""

KEY: Final = "f8a24bb8-eff8-41dc-929b-10b4c3e49e05"

ALONE: Final[dict[str, set[str]]] = {
    "--version": set(),
    "--help": {
        "asyncio",
        "http.client",
        "rich",
        "uhashring",
    },  # the first line of each command's help stands beside its code
    "get --help": {"http.client"},
    "stats --help": {"http.client"},
    "explain --help": {"http.client"},
    "plan --help": {"asyncio", "rich", "uhashring"},
    "plan --shards 3..4": {"asyncio", "rich", "uhashring"},
    "pack --help": {"asyncio"},
    "verify --help": {"asyncio"},
    "up --help": {"asyncio"},
    "shard --help": {"asyncio"},
    "router --help": {"asyncio"},
}
"""Command lines that need no cluster, with those of WATCHED that they may import."""

AT_WORK: Final[dict[str, set[str]]] = {
    f"get {KEY}": {"http.client"},
    "stats --once --interval 0.1": {"http.client", "rich"},
    "stats --json --interval 0.1": {"http.client"},
    f"explain {KEY}": {"http.client"},
}
"""The same for those that ask a router."""


IMPORTED: Final = r"(?m)^import time:.*\| +([\w.]+)$"
"""The name of a module in what -X importtime writes."""


def imported(said: str) -> set[str]:
    """Those of WATCHED that stand in what -X importtime has written."""
    names = re.findall(IMPORTED, said)
    assert "ringkv" in names
    return {*names} & WATCHED


def imports_of(arguments: str, **variables: str) -> set[str]:
    command = [sys.executable, "-X", "importtime", "-m", "ringkv", *arguments.split()]
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout
    return imported(done.stderr)


@pytest.fixture(scope="module")
def cluster(module_spawn: Spawner) -> SpawnedCluster:
    return module_spawn.up(EXAMPLE, "--shards", "1")


@pytest.mark.parametrize("arguments", ALONE)
def test_a_command_imports_no_more_than_it_needs(arguments: str) -> None:
    assert imports_of(arguments) == ALONE[arguments]


@pytest.mark.parametrize("arguments", AT_WORK)
def test_a_command_that_asks_a_router_imports_no_more_than_it_needs(cluster: SpawnedCluster, arguments: str) -> None:
    url = f"http://{cluster.host}:{cluster.port}"
    assert imports_of(arguments, RINGKV_URL=url) == AT_WORK[arguments]


@pytest.mark.parametrize(
    ("module", "needed"),
    [
        ("ringkv.deploy.local", {"asyncio", "numpy", "pyarrow", "uvloop"}),
        ("ringkv.router.workers", {"asyncio", "uvloop"}),
    ],
)
def test_whoever_starts_others_does_without_the_code_of_those(module: str, needed: set[str]) -> None:
    command = [sys.executable, "-X", "importtime", "-c", f"import {module}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    assert imported(done.stderr) == needed


def test_what_is_forked_imports_nothing_by_itself(spawn: Spawner) -> None:
    command = sys.executable, "-X", "importtime", "-m", "ringkv", "up"
    cluster = spawn.cluster(spawn.run(*command, EXAMPLE, "--port", "0", "--shards", "4"))
    times = Counter(re.findall(IMPORTED, cluster.spawned.err))
    # At most `ringkv up` and its two fork servers; what shards import by themselves stands there four times.
    ours = {name: count for name, count in times.items() if name.split(".")[0] in {"filelock", "ringkv", "uvloop"}}
    assert ours["ringkv.process.children"] == ours["ringkv.shard.commands"] == ours["ringkv.router.server"] == 1
    assert times["numpy"] == times["pyarrow"] == times["filelock"] == times["aiohttp"] == times["click"] == 1
    assert {name for name, count in ours.items() if count > 2} == set()


def test_who_serves_collects_garbage_as_python_does_but_looks_at_all_a_tenth_as_often(tmp_path: Path) -> None:
    (tmp_path / "told.py").write_text(
        "import asyncio, gc\n"
        "import ringkv.process.patient\n"
        "from ringkv.process.run import run\n"
        "before = gc.get_threshold()[0]\n"
        "async def serve(stop): print(before, *gc.get_threshold())\n"
        "run(serve)\n"
    )
    done = subprocess.run([sys.executable, tmp_path / "told.py"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["200000", "700", "10", "100"]


def test_at_its_end_a_command_looks_at_no_garbage() -> None:
    told = (
        "{}\n"
        "class Told:\n"
        "    def __del__(self): print('looked at')\n"
        "garbage = Told()\n"
        "garbage.itself = garbage\n"
        "del garbage\n"
    )
    said = []
    for first in ("import gc", "import ringkv.cli"):
        command = [sys.executable, "-c", told.format(first)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        said.append(done.stdout.strip())
    assert said == ["looked at", ""]


def test_no_certificates_are_read_for_a_client_that_nobody_is(tmp_path: Path) -> None:
    count = "len(aiohttp.connector._SSL_CONTEXT_VERIFIED.get_ca_certs())"
    told = f"import os, {{}}; import aiohttp.connector; print({count}, os.environ['SSL_CERT_FILE'])"
    roots = str(Authority(tmp_path / "authority").roots)
    counts = []
    for module in ("aiohttp", "ringkv.process.rootless"):
        command = [sys.executable, "-c", told.format(module)]
        environment = {**os.environ, "SSL_CERT_FILE": roots}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
        counts.append(done.stdout.split())
    assert counts == [["1", roots], ["0", roots]]


def test_a_shard_draws_nothing(spawn: Spawner) -> None:
    listen = f"unix:{spawn.directory()}/s"
    command = (sys.executable, "-X", "importtime", "-m", "ringkv", "shard", EXAMPLE, "--listen", listen)
    shard = spawn.run(*command)
    shard.wait_for_line("shard .* ready on")
    assert imported(shard.err) == SERVES | {"numpy", "pyarrow"}


def test_a_shard_whose_data_are_packed_packs_nothing(spawn: Spawner, tmp_path: Path) -> None:
    pack(EXAMPLE, tmp_path / "packed")
    listen = f"unix:{spawn.directory()}/s"
    command = (sys.executable, "-X", "importtime", "-m", "ringkv", "shard", tmp_path / "packed", "--listen", listen)
    shard = spawn.run(*command)
    shard.wait_for_line("shard .* ready on")
    names = {*re.findall(IMPORTED, shard.err)}
    assert "ringkv.dataset.cache" in names
    assert names & {"ringkv.dataset.packing.local", "concurrent.futures.process"} == set()


def test_a_router_reads_no_files(spawn: Spawner) -> None:
    shards = f"unix:{spawn.directory()}/s"
    command = (sys.executable, "-X", "importtime", "-m", "ringkv", "router", "--shards", shards)
    router = spawn.run(*command, "--listen", "127.0.0.1:0")
    router.wait_for_line("router listens on")
    assert imported(router.err) == SERVES | HTTP | {"tenacity"}
