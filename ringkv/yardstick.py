"""How this machine compares with the one where the constants of `ringkv.sizing` were measured.

A small dataset is packed, started and read here, and each time is set beside the one that is foretold for it there.
What is foretold for another dataset takes as many times as long here.
"""

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from statistics import median
from typing import Final

from ringkv.cluster.errors import StartupError
from ringkv.dataset.dataset import Dataset
from ringkv.dataset.generate import FIRST_LINES, lines
from ringkv.dataset.packing.local import pack
from ringkv.shard.blocks import Blocks
from ringkv.shard.settings import WARM_RATE
from ringkv.shard.warmup import Pace, Warmup
from ringkv.sizing import PACKING_START, SEED, Data, Machine, sized

SAMPLE: Final = Data(500_000, 500_000 * 60)

TIMES: Final = 5
"""It is packed, started and read, of which the medians count."""

ALONE: Final = 0.77
"""The processor time that packing takes in one process alone, of what it takes in several, which share caches."""

NO_LIMIT: Final = 1 << 40
"""Bytes a second: what is read takes as long as it takes."""

LOOK: Final = 0.01
"""Seconds between two looks at whether it answers, or all is read."""

PATIENCE: Final = 60.0
"""Seconds for an answer."""

KEY: Final = FIRST_LINES[0].split()[0].decode()

_FAILED: Final = "this machine cannot be measured"


def this_machine() -> Machine:
    """Takes some 15 s. Raises StartupError or PackingFailed if the sample cannot be packed or started here."""
    try:
        with tempfile.TemporaryDirectory(prefix="ringkv-") as folder:
            return _measured(Path(folder))
    except OSError as error:
        raise StartupError(f"{_FAILED}: {error.strerror}; say where there is room with $TMPDIR") from error


def _measured(folder: Path) -> Machine:
    text, packed = folder / "text", folder / "packed"
    with text.open("wb") as file:
        file.writelines(lines(SAMPLE.pairs, SEED, SAMPLE.values // SAMPLE.pairs))
    foretold = sized(SAMPLE, 1, 1, 1, WARM_RATE)
    packing = median(_packing_seconds(text, packed) for _ in range(TIMES))
    start = median(_start_seconds(packed) for _ in range(TIMES))
    reading = median(reading_seconds(packed) for _ in range(TIMES))
    return Machine(
        start=start / foretold.start,
        reading=reading / foretold.warm_core_seconds,
        packing=packing / (ALONE * (foretold.packing_core_seconds - PACKING_START)),
    )


def _packing_seconds(text: Path, out: Path) -> float:
    """Seconds of one core that packing takes, without those of starting processes for it. Raises PackingFailed."""
    with ThreadPoolExecutor(1) as worker:
        before = time.process_time()
        pack(text, out, executor=worker)
        return time.process_time() - before


def reading_seconds(packed: Path) -> float:
    """Seconds of one core that a shard takes to read and check all of a dataset."""
    with Dataset.open(packed) as dataset:
        partitions = range(dataset.manifest.partitions)
        blocks = Blocks(dataset)
        blocks.lease(blocks.leasing(partitions))
        blocks.fit()
        before = time.process_time()
        asyncio.run(_read(blocks, partitions))
        return time.process_time() - before


async def _read(blocks: Blocks, partitions: range) -> None:
    warmup = Warmup(blocks, Pace(NO_LIMIT))
    warmup.add(partitions)
    reading = asyncio.create_task(warmup.run())
    while blocks.checked_bytes < blocks.bytes and not (blocks.corrupt or reading.done()):  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(LOOK)
    reading.cancel()
    with suppress(asyncio.CancelledError):
        await reading


def _start_seconds(packed: Path) -> float:
    """Seconds from the start of `ringkv up` until it answers a GET. Raises StartupError."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "ringkv", "up", str(packed), "--shards", "2", "--port", str(port)]
    began = time.perf_counter()
    with subprocess.Popen(  # noqa: S603 - a command of this package
        command, env=_environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as up:
        try:
            while up.poll() is None and not _answers(port):
                time.sleep(LOOK)
            took = time.perf_counter() - began
        finally:
            up.terminate()
            _, told = up.communicate()
    if up.returncode:
        raise StartupError(f"{_FAILED}: {told.decode(errors='replace').strip()}")
    return took


def _answers(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    with suppress(OSError, HTTPException), closing(connection):
        connection.request("GET", f"/{KEY}")
        return connection.getresponse().status == HTTPStatus.OK
    return False


def _environment() -> dict[str, str]:
    """Without the settings of other commands."""
    return {name: value for name, value in os.environ.items() if not name.startswith("RINGKV_")}
