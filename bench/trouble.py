"""A cluster that loses a shard while it is asked for keys that nobody has read yet, at a fixed pace.

The load is that of the chaos tests: each request has its moment, whatever became of the ones before it, and each
answer is compared with the data.
"""

import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.cold import drop, files
from bench.errors import BenchmarkFailed
from bench.processes import Processes
from bench.sample import Pair
from tests.chaos.measured import Measured

SHARDS: Final = 3
RATE: Final = 2000
"""Requests a second."""

QUIET_SECONDS: Final = 2.0
"""Of load before something happens."""

HOLD_SECONDS: Final = 4.0
"""How long a shard hangs; longer than anybody needs to notice it."""

AFTER_SECONDS: Final = 3.0
"""Of load after it, by when all is as before."""

Trouble = Callable[[int], None]
"""What is done to the process of a shard."""


@dataclass(frozen=True, slots=True)
class Suffered:
    """What became of all requests; `anonymous` is the memory of each shard before the trouble, in bytes."""

    requests: int
    failed: int
    wrong: int
    longest: float
    anonymous: dict[str, int]


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def hang(pid: int) -> None:
    os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(HOLD_SECONDS)
    finally:
        os.kill(pid, signal.SIGCONT)


def suffer(dataset: Path, pairs: Sequence[Pair], trouble: Trouble, *, replicas: int, folder: Path) -> Suffered:
    """Start a cluster, load it, and do this to one shard, the pages of the dataset being dropped before.

    Raises BenchmarkFailed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    text = folder / "asked.data"
    text.write_bytes(b"".join(b"%b %b\n" % pair for pair in pairs))
    with _cluster(dataset, replicas, folder) as (processes, port):
        out, log = folder / "load.npz", processes.folder / "load.log"
        options = ["--url", f"127.0.0.1:{port}", "--output", str(out), "--rate", str(RATE)]
        load = processes.start("load", sys.executable, "-m", "tests.chaos.load", text, *options)
        processes.wait_for(lambda: "begins" in log.read_text(), "the load did not begin")
        time.sleep(QUIET_SECONDS)
        shards = _shards(processes)
        anonymous = {name: _anonymous(pid) for name, pid in shards.items()}
        drop(files(dataset))
        trouble(shards["shard-2"])
        time.sleep(AFTER_SECONDS)
        load.terminate()
        if load.wait():
            raise BenchmarkFailed(f"the load failed: {log.read_text()[-1000:]}")
    found = Measured.read(out)
    return Suffered(found.requests, found.failed, found.wrong, found.longest, anonymous)


@contextmanager
def _cluster(dataset: Path, replicas: int, folder: Path) -> Iterator[tuple[Processes, int]]:
    """`ringkv up`, and its port. It reads nothing ahead: what is lost with a shard has to come from the disk."""
    with Processes(folder / "trouble") as processes:
        options = ["--shards", str(SHARDS), "--replicas", str(replicas), "--port", "0", "--warm-rate", "0"]
        processes.start("ringkv", sys.executable, "-m", "ringkv", "up", dataset, *options)
        log = processes.folder / "ringkv.log"
        pattern = re.compile(r"ready on http://127\.0\.0\.1:(\d+)\n")
        ready = processes.wait_for(lambda: pattern.search(log.read_text()), "ringkv did not start")
        yield processes, int(ready[1])


def _shards(processes: Processes) -> dict[str, int]:
    """The process of each shard, by the name that it has given itself."""
    found = {}
    for pid in processes.pids():
        title = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0 ").decode(errors="replace")
        if title.startswith("ringkv: shard "):
            found[title.rpartition(" ")[2]] = pid
    if len(found) != SHARDS:
        raise BenchmarkFailed(f"{SHARDS} shards were started, and these run: {', '.join(found)}")
    return found


def _anonymous(pid: int) -> int:
    """Bytes that no file stands behind."""
    found = re.search(r"^RssAnon:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None, pid
    return 1024 * int(found[1])
