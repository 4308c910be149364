"""What a worker has found out, as a file of which it tells the name alone.

A worker that is killed while it answers, by the kernel when memory is out, may have sent a part of its answer, and the
pool would wait for the rest without end. What is as short as a name is sent whole or not at all: PIPE_BUF in pipe(7).
"""

import pickle
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


def put_down(directory: Path, function: Callable[[Task], Result], task: Task) -> str:
    """Do the task; the name of the file in the folder that has the result."""
    result = function(task)
    with tempfile.NamedTemporaryFile(dir=directory, suffix=".result", delete=False) as file:
        pickle.dump(result, file)
    return file.name


def pick_up(name: str) -> Any:
    """What `put_down` has found out. The file goes."""
    path = Path(name)
    result = pickle.loads(path.read_bytes())  # noqa: S301 - a worker of this process has written it
    path.unlink()
    return result
