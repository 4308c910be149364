"""The result of a worker's task, left in a file of which only the name is sent back.

A worker that is killed while it answers, as by the kernel when memory is out, may have sent a part of its answer, and
the pool would wait for the rest without end. A name is short enough to come whole or not at all: PIPE_BUF in pipe(7).
"""

import pickle
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


def put_down(directory: Path, function: Callable[[Task], Result], task: Task) -> str:
    """Do the task, and write its result to a new file in the folder; returns the file's name."""
    result = function(task)
    with tempfile.NamedTemporaryFile(dir=directory, suffix=".result", delete=False) as file:
        pickle.dump(result, file)
    return file.name


def pick_up(name: str) -> Any:
    """The result that `put_down` has written to this file, which is removed."""
    path = Path(name)
    result = pickle.loads(path.read_bytes())  # noqa: S301 - a worker of this process has written it
    path.unlink()
    return result
