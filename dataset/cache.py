"""The cache of packed files: a data file is packed once, however many processes of however many runs need it.

<cache>/<digest of the path>-<digest of the file's identity>.arrow      and one .lock for each path
"""

import fcntl
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from filelock import FileLock
from platformdirs import user_cache_path
from xxhash import xxh3_64_hexdigest

from cluster.errors import PackedFileError, PackingFailed
from dataset.merge import DuplicatePolicy
from dataset.pack import pack
from dataset.packed import MAGIC, VERSION, PackedFile
from dataset.source import identity, open_source


def packed_path(
    source: Path,
    *,
    on_duplicate: DuplicatePolicy = "error",
    cache_dir: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """The packed file of `source`: `source` itself if it is one, else one in the cache, made now if it has to be.

    Processes that ask for the same source at once wait for the first to make it. Raises as `pack` does.
    """
    with open_source(source) as opened:
        if opened.begins_with(MAGIC):
            return source
        version = f"{VERSION} {on_duplicate} {identity(opened.status)}"
    folder = cache_dir or user_cache_path("ringkv")
    name = xxh3_64_hexdigest(os.fsencode(source.resolve()))
    target = folder / f"{name}-{xxh3_64_hexdigest(version.encode())}.arrow"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f"{name}.lock"):
            if not _opens(target):
                pack(source, target, on_duplicate=on_duplicate, progress=progress)
                _remove_others(target, name)
    except OSError as error:
        raise PackingFailed(
            f"{folder}: the cache cannot be used: {error.strerror}; choose another folder with --cache"
        ) from error
    return target


def _opens(target: Path) -> bool:
    try:
        PackedFile.open(target).close()
    except PackedFileError:
        return False
    return True


def _remove_others(target: Path, name: str) -> None:
    """Remove what the same path held before, unless somebody has it open: his shards may have to open it again."""
    for path in target.parent.glob(f"{name}-*.arrow"):
        if path != target:
            with suppress(OSError), path.open("rb") as old:
                fcntl.flock(old, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
