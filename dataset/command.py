"""Packing on behalf of a command line: with a progress bar at a terminal, and an end by SIGTERM that leaves nothing."""

import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ringkv.dataset.progress import progress_bar

if TYPE_CHECKING:
    from ringkv.dataset.packing.merge import DuplicatePolicy


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


def briefly(data: Sequence[Path]) -> str:
    """The data's name in few words."""
    return data[0].name + (f" and {len(data) - 1} more" if len(data) > 1 else "")
