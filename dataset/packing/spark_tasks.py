"""The parts of packing that Spark's executors run, and how its driver learns of their errors.

An error that trying again cannot mend is returned as a result: of an exception Spark would print pages.
"""

import os
import pickle
import re
import socket
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
from py4j.protocol import Py4JError, Py4JJavaError
from pyspark import SparkConf, SparkContext, TaskContext
from pyspark.errors import PySparkException

from ringkv.cluster.errors import PackingFailed, RingkvError
from ringkv.dataset.packing.arcs import ArcRun, Merge, Merged, Tally, merge_arc, sort_frame, sort_split
from ringkv.dataset.packing.merge import Duplicate
from ringkv.dataset.packing.splits import Split

Record = tuple[int, ArcRun | Tally | RingkvError]
"""What is shuffled, and its destination: a run goes to its arc; a tally, or an error instead, behind the last arc."""

JAVA: Final = "-XX:TieredStopAtLevel=1"
"""Java only moves bytes here, for which its first compiler is enough. The second one, in a driver and two executors,
was 24 of the 61 s of processor time that a million pairs took."""


def sort_text_task(attempts: int, arcs: int, chunk: int, task: tuple[int, Split]) -> Iterator[Record]:
    return _records(attempts, arcs, sort_split(*task, arcs, chunk))


def sort_frame_task(attempts: int, arcs: int, chunk: int, batches: Iterator[Any]) -> Iterator[Any]:
    found = sort_frame(_task().partitionId(), batches, arcs, chunk)
    for record in _records(attempts, arcs, found):
        yield pa.record_batch([pa.array([pickle.dumps(record)], pa.binary())], ["record"])


def unpickled(row: Any) -> Record:
    found: Record = pickle.loads(row[0])  # noqa: S301 - what `sort_frame_task` has written in this very job
    return found


def _records(attempts: int, arcs: int, found: Iterator[ArcRun | Tally]) -> Iterator[Record]:
    try:
        for one in found:
            yield (one.arc if isinstance(one, ArcRun) else arcs), one
    except (RingkvError, OSError) as error:
        yield arcs, _last(error, attempts)


def merge_task(
    task: Merge, attempts: int, arc: int, records: Iterable[Record]
) -> Iterator[Merged | Duplicate | RingkvError]:
    folders = [folder for folder in os.environ.get("SPARK_LOCAL_DIRS", "").split(",") if folder]
    try:
        with tempfile.TemporaryDirectory(
            prefix="ringkv-", dir=folders[arc % len(folders)] if folders else None
        ) as name:
            runs = (run for _, run in records if isinstance(run, ArcRun))
            yield merge_arc(task, arc, runs, Path(name))
    except (RingkvError, OSError) as error:
        yield _last(error, attempts)


def _last(error: RingkvError | OSError, attempts: int) -> RingkvError:
    """The error as a result, if this is the last attempt; else it is raised, so that there is another one."""
    if _task().attemptNumber() + 1 < attempts:
        raise error
    if isinstance(error, RingkvError):
        return error
    return PackingFailed(f"{socket.gethostname()}: {error.filename or 'an executor'}: {error.strerror}")


def _task() -> TaskContext:
    task = TaskContext.get()
    assert task
    return task


def attempts_of(context: SparkContext) -> int:
    """How often Spark tries a task; with a `local` master once, unless the master's name says more."""
    if local := re.fullmatch(r"local(?:\[[^,]*(?:,\s*(\d+))?\])?", context.master or ""):
        return int(local[1] or 1)
    return int(context.getConf().get("spark.task.maxFailures", "4") or 4)


@contextmanager
def session(master: str) -> Iterator[SparkContext]:
    """A new Spark session at this master, ended with the context. Raises PackingFailed."""
    # Without this, executors take whatever `python3` is.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    conf = SparkConf().setMaster(master).setAppName("ringkv publish")
    # Options to Java that somebody has configured come behind these, and prevail.
    conf.set("spark.driver.defaultJavaOptions", JAVA).set("spark.executor.defaultJavaOptions", JAVA)
    # The tables of blocks come to the driver, 80 MB a billion keys, which by default is too much from ten billion on.
    conf.set("spark.driver.maxResultSize", "0")
    conf.set("spark.ui.showConsoleProgress", str(sys.stderr.isatty()).lower())
    with telling(master):
        # And no session of Spark SQL, which takes seconds to start and has nothing to do.
        context = SparkContext(conf=conf)
    context.setLogLevel("ERROR")
    try:
        yield context
    finally:
        context.stop()


@contextmanager
def telling(master: str) -> Iterator[None]:
    """Raise Spark's errors as PackingFailed, in one line."""
    try:
        yield
    except (Py4JError, PySparkException) as error:
        said = error.java_exception.getMessage() if isinstance(error, Py4JJavaError) else str(error)
        (reason, *_) = str(said).strip().splitlines() or [""]
        raise PackingFailed(f"Spark at {master} has failed: {reason}; its log may say more") from error
