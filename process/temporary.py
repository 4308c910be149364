"""A folder for what a command has as long as it runs: sockets, and what its processes tell each other."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from ringkv.cluster.errors import StartupError


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A new folder, removed at the end with all that is in it. Raises StartupError."""
    try:
        made = TemporaryDirectory(prefix="ringkv-")
    except OSError as error:
        raise StartupError(
            f"a folder for sockets cannot be made: {error.strerror or error}; say where there is room with $TMPDIR"
        ) from error
    with made as folder:
        yield Path(folder)
