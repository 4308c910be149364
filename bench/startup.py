"""From the start of `ringkv up` until the first value has come back, with and without a packed file in the cache, and
until all of it has been read.
"""

import json
import shutil
import sys
import time
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Final

import click

from bench.data import Data
from bench.errors import BenchmarkFailed
from bench.figures import RINGKV, Figures
from bench.processes import PATIENCE, POLL, Processes, free_port
from bench.quiet import Quiet

READ_PATIENCE: Final = 600.0
"""Seconds: 100 million pairs are 8 GB, which a slow disk reads in three minutes."""

LOOK: Final = 0.1
"""Between two looks at how much has been read."""


def start_up(data: Data, rounds: int, folder: Path, quiet: Quiet, figures: Figures) -> None:
    cache = folder / "cache"
    for number in range(rounds):
        shutil.rmtree(cache, ignore_errors=True)
        quiet.wait()
        for quantity in ("start cold", "start warm"):
            seconds = first_answer(data.text, data.first(1)[0], folder, "--cache", cache)
            figures.add(RINGKV, quantity, seconds)
            click.echo(f"round {number + 1}: {quantity}: {seconds:.2f} s")
    shutil.rmtree(cache, ignore_errors=True)


def first_answer(source: Path, pair: tuple[bytes, bytes], folder: Path, *options: str | Path) -> float:
    """Seconds until the cluster of `source` answers with this pair's value. Raises BenchmarkFailed."""
    port = free_port()
    with Processes(folder / "start") as processes:
        start = time.perf_counter()
        processes.start("ringkv", sys.executable, "-m", "ringkv", "up", source, "--port", str(port), *options)
        while time.perf_counter() - start < PATIENCE:
            if answers(port, pair):
                return time.perf_counter() - start
            time.sleep(POLL)
    raise BenchmarkFailed(f"ringkv up did not answer within {PATIENCE:.0f} s")


def all_read(source: Path, folder: Path) -> float:
    """Seconds until the shards of `source` have read all that they hold. Raises BenchmarkFailed.

    That is up to 0.75 s late, as the router hears of it with a heartbeat, and tells it with a report.
    """
    port = free_port()
    with Processes(folder / "start") as processes:
        start = time.perf_counter()
        processes.start("ringkv", sys.executable, "-m", "ringkv", "up", source, "--port", str(port))
        while time.perf_counter() - start < READ_PATIENCE:
            with suppress(OSError, HTTPException):
                shards = json.loads(_ask(port, b"stats") or b"{}").get("shards", [])
                if shards and all(0 < shard["bytes"] <= shard["checked"] for shard in shards):
                    return time.perf_counter() - start
            time.sleep(LOOK)
    raise BenchmarkFailed(f"ringkv up has not read all of it within {READ_PATIENCE:.0f} s")


def answers(port: int, pair: tuple[bytes, bytes]) -> bool:
    """Whether the router answers with this pair's value."""
    key, value = pair
    with suppress(OSError, HTTPException):
        return _ask(port, key) == value
    return False


def _ask(port: int, key: bytes) -> bytes | None:
    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", f"/{key.decode()}")
        answer = connection.getresponse()
        return answer.read() if answer.status == 200 else None
    finally:
        connection.close()
