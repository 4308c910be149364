"""Packing on behalf of a command line: with a progress bar at a terminal, and an end by SIGTERM that leaves nothing."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ringkv.cluster.errors import StartupError
from ringkv.dataset.progress import progress_bar

if TYPE_CHECKING:
    from ringkv.dataset.packing.merge import DuplicatePolicy

STDERR: Final = 2

INTERRUPT_SECONDS: Final = 1.0
"""Seconds that a command gets after Ctrl-C to remove what it has begun."""


@contextmanager
def packed(data: Sequence[Path], on_duplicate: "DuplicatePolicy", cache: Path | None) -> Iterator[Path]:
    """The dataset of `data`, made now if it has to be, with a progress bar at a terminal.

    It may be removed at the end of the context.
    """
    from ringkv.dataset.cache import packed_dataset  # noqa: PLC0415 - it loads Arrow, which `--help` needs not

    with ExitStack() as stack:
        with ended_by_sigterm(), progress_bar(f"packing {briefly(data)}") as progress:
            made = packed_dataset(data, on_duplicate=on_duplicate, cache_dir=cache, progress=progress)
            path = stack.enter_context(made)
        yield path


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end the process by an exception, so that what was begun is removed."""
    before = signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def ended_soon(seconds: float = INTERRUPT_SECONDS) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end the process so many seconds later at most: also while it waits for a store that hangs,
    when Python does not see them.

    Only for what may be killed at any moment. What it would have removed goes as what a killed process has left.
    Raises StartupError.
    """
    pipe = os.pipe()
    for descriptor in pipe:
        os.set_blocking(descriptor, descriptor == pipe[0])
    try:
        threading.Thread(target=_end_after_signal, args=(pipe[0], seconds), daemon=True).start()
    except RuntimeError as error:
        raise StartupError(
            "no thread can be started: raise the limit on processes with `ulimit -u`, or TasksMax= in systemd"
        ) from error
    before = signal.set_wakeup_fd(pipe[1], warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(pipe[1])


def _end_after_signal(pipe: int, seconds: float) -> None:
    """End the process so many seconds after the first of these signals, whose numbers come through this pipe."""
    while number := os.read(pipe, 1):
        if number[0] == signal.SIGTERM:
            time.sleep(seconds)
            os._exit(128 + signal.SIGTERM)
        if number[0] == signal.SIGINT:
            time.sleep(seconds)
            with suppress(OSError):
                os.write(STDERR, b"\nAborted!\n")  # as click does
            os._exit(1)
    os.close(pipe)


def briefly(data: Sequence[Path]) -> str:
    """The data's name in few words."""
    return data[0].name + (f" and {len(data) - 1} more" if len(data) > 1 else "")
