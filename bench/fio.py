"""What the disk itself can do: `fio` reads blocks of the files of a dataset, as large as its own, 32 at once."""

import json
import subprocess
from math import ceil
from typing import Any, Final

from bench.cold import drop
from bench.errors import BenchmarkFailed
from bench.peers.peer import program
from bench.sample import Sampler

FIO: Final = "fio"
PACKAGE: Final = "fio"
JOBS: Final = 32
PAGE: Final = 4096

SHARE: Final = 100 // JOBS
"""Per cent of each file that each job reads: no block is read twice, so that none comes from memory."""


def block_size(sampler: Sampler) -> int:
    """The mean block of the dataset, in whole pages."""
    return max(1, ceil(sampler.block_bytes / PAGE)) * PAGE


def read_randomly(sampler: Sampler, seconds: float) -> float:
    """Reads a second. Raises BenchmarkFailed."""
    paths = [path for path, _, _ in sampler.segments]
    drop(paths)
    options = {
        "name": "blocks",
        "filename": ":".join(str(path.resolve()).replace(":", "\\:") for path in paths),
        "rw": "randread",
        "ioengine": "psync",
        "bs": block_size(sampler),
        "numjobs": JOBS,
        "size": f"{SHARE}%",
        "offset_increment": f"{SHARE}%",
        "invalidate": 1,
        "randrepeat": 0,
        "runtime": max(1, round(seconds)),
        "output-format": "json",
    }
    flags = ["--readonly", "--thread", "--group_reporting"]
    command = [program(FIO), *flags, *(f"--{name}={value}" for name, value in options.items())]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    try:
        told: dict[str, Any] = json.loads(done.stdout[done.stdout.index("{") :])["jobs"][0]
    except (ValueError, LookupError) as error:
        raise BenchmarkFailed(f"fio failed: {done.stdout[-1000:]}{done.stderr[-1000:]}") from error
    if done.returncode or told["error"] or not told["read"]["iops"]:
        raise BenchmarkFailed(f"fio failed with exit code {done.returncode}: {done.stderr[-1000:]}")
    return float(told["read"]["iops"])
