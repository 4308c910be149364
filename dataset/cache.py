"""The cache of datasets: data are packed once, however many processes of however many runs need them.

    <cache>/<what>-<how>-<state>/           what: digest of the paths; how: of version and policy; state: of the files
            <what>.json                     the paths themselves, for people
            <what>.lock                     held by whoever packs

What comes from a stream is not kept, because nothing could find it again: it goes with the process that serves it.
"""

import fcntl
import json
import logging
import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from filelock import FileLock, Timeout
from xxhash import xxh3_64_hexdigest

from ringkv.cluster.errors import InvalidDataset, PackingFailed, SourceError
from ringkv.dataset.dataset import Dataset
from ringkv.dataset.format import VERSION
from ringkv.dataset.packing.rights import limit
from ringkv.dataset.packing.workspace import remove_unused, workspace
from ringkv.dataset.progress import Progress
from ringkv.dataset.source.file import RegularFile, digest_of
from ringkv.dataset.source.find import STDIN, find, is_dataset
from ringkv.dataset.source.protocol import Source
from ringkv.dataset.source.table import Table

if TYPE_CHECKING:
    from ringkv.dataset.packing.memory import Budget
    from ringkv.dataset.packing.merge import DuplicatePolicy

log = logging.getLogger("ringkv.dataset")

PRIVATE: Final = 0o700
"""The mode of a cache's folder that is made here: what is in it is its user's alone."""


@contextmanager
def packed_dataset(
    data: Sequence[Path],
    *,
    on_duplicate: "DuplicatePolicy" = "error",
    cache_dir: Path | None = None,
    budget: "Budget | None" = None,
    progress: Progress | None = None,
) -> Iterator[Path]:
    """As `dataset_path`, for the time of the context; the dataset of a stream is removed at its end.

    Raises as `pack` does.
    """
    sources = find(data)
    if all(source.file for source in sources):
        yield _path_of(data, sources, on_duplicate, cache_dir, budget, progress)
        return
    folder = cache_folder(cache_dir)
    with ExitStack() as stack:
        with _usable(folder):
            folder.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
            target = stack.enter_context(workspace(folder / "stream")) / "dataset"
            _pack(sources, target, on_duplicate, budget, progress)
        yield target


def dataset_path(
    *data: Path,
    on_duplicate: "DuplicatePolicy" = "error",
    cache_dir: Path | None = None,
    budget: "Budget | None" = None,
    progress: Progress | None = None,
) -> Path:
    """The dataset of `data`: `data` itself if it is one, else one in the cache, made now if it has to be.

    Processes that ask for the same at once wait for the first to make it. Raises SourceError for a stream, and else
    as `pack` does.
    """
    sources = find(data)
    for source in sources:
        if not source.file:
            raise SourceError(f"{source.name}: the cache cannot find a stream again; name a file to pack it into")
    return _path_of(data, sources, on_duplicate, cache_dir, budget, progress)


def cache_folder(chosen: Path | None) -> Path:
    """The folder that was chosen, else the user's own. Raises PackingFailed if the user has none."""
    if chosen is not None:
        return chosen

    from platformdirs import user_cache_path  # noqa: PLC0415 - data that are packed need no cache

    try:
        return user_cache_path("ringkv")
    except RuntimeError as error:
        raise PackingFailed(
            "no folder to keep datasets in: this user has no home folder; set $HOME, or choose one with --cache"
        ) from error


def meant(path: Path) -> Path:
    """The path under which every process finds the same file; a pattern stays a pattern, made absolute."""
    return (Path("/proc/self/fd/0") if path == STDIN else path).resolve()


def entry_state(files: Sequence[RegularFile]) -> str:
    """The part of an entry's name that stands for the state of these files."""
    return xxh3_64_hexdigest(repr([(os.fsencode(file.path), *file.identity) for file in files]).encode())


@contextmanager
def _unused(path: Path) -> Iterator[None]:
    """Lock a dataset that nobody has open; whoever is about to open it waits. Raises OSError if it is open."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _path_of(  # noqa: PLR0913, PLR0917 - what both of the functions above hand on
    data: Sequence[Path],
    sources: Sequence[Source],
    on_duplicate: "DuplicatePolicy",
    cache_dir: Path | None,
    budget: "Budget | None",
    progress: Progress | None,
) -> Path:
    match data:
        case [path] if is_dataset(path):
            return path
    _refuse_parts(sources)
    files = [source.file for source in sources if source.file]
    folder = cache_folder(cache_dir)
    paths = [str(meant(path)) for path in data]
    name = xxh3_64_hexdigest(b"\0".join(map(os.fsencode, paths)))
    how = xxh3_64_hexdigest(f"{VERSION} {on_duplicate}".encode())
    target = folder / f"{name}-{how}-{entry_state(files)}"
    # Without taking the lock, which is a file: a cache that belongs to somebody else may not be writable.
    if _opens(target) and (_is_ours(target) or _says_it_is_of(files, target)):
        return target
    with _usable(folder):
        folder.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
        with _lock(folder / f"{name}.lock", paths):
            if not ((_opens(target) and _is_ours(target)) or _same_content(files, target)):
                remove_unused(target)  # one that is damaged
                _pack(sources, target, on_duplicate, budget, progress)
            (folder / f"{name}.json").write_text(json.dumps(paths))
            for other in folder.glob(f"{name}-*"):
                if other != target:
                    remove_unused(other)
    return target


def _pack(
    sources: Sequence[Source],
    target: Path,
    on_duplicate: "DuplicatePolicy",
    budget: "Budget | None",
    progress: Progress | None,
) -> None:
    from ringkv.dataset.packing.local import pack  # noqa: PLC0415 - a shard whose data are packed does without

    pack(sources, target, on_duplicate=on_duplicate, budget=budget, progress=progress)


def _opens(target: Path) -> bool:
    try:
        Dataset.open(target).close()
    except InvalidDataset:
        return False
    return True


def _is_ours(target: Path) -> bool:
    """Whether this user has made the entry, or the administrator: others may put there what they like."""
    return target.stat().st_uid in {os.geteuid(), 0}


def _says_it_is_of(files: Sequence[RegularFile], target: Path) -> bool:
    """Whether the entry says that it was packed from just these bytes."""
    with Dataset.open(target) as dataset:
        packed = dataset.manifest.sources
    return digest_of([file.digest() for file in files]) == digest_of([source.digest for source in packed])


def _same_content(files: Sequence[RegularFile], target: Path) -> bool:
    """Whether the same bytes were packed already, from files in another state; then that dataset gets this name.

    A dataset that is served keeps its name: renaming it would change its times, which its shards watch.
    """
    size, digest = sum(file.identity.size for file in files), ""
    for old in target.parent.glob(f"{target.name.rpartition('-')[0]}-*"):
        with suppress(InvalidDataset, OSError):
            with Dataset.open(old) as dataset:
                packed = dataset.manifest.sources
            if sum(source.size for source in packed) == size:
                digest = digest or digest_of([file.digest() for file in files])
                if digest_of([source.digest for source in packed]) == digest:
                    with _unused(old):
                        limit(old, [file.path for file in files])
                        old.rename(target)
                    return True
    return False


def _refuse_parts(sources: Sequence[Source]) -> None:
    """Raise InvalidDataset for a file of a packed dataset: its folder is meant, or it is of an older version."""
    for source in sources:
        version = source.packed_version() if isinstance(source, Table) else None
        if version == VERSION:
            raise InvalidDataset(f"{source.name}: is a part of a packed dataset; name the folder that it is in")
        if version is not None:
            raise InvalidDataset(
                f"{source.name}: has format version {version}, not {VERSION}; pack its source again,"
                f" or this file: ringkv pack {shlex.quote(source.name)} FOLDER"
            )


@contextmanager
def _lock(path: Path, paths: Sequence[str]) -> Iterator[None]:
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.warning("%s is being packed by another process; waiting for that", ", ".join(paths))
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _usable(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise PackingFailed(
            f"{folder}: the cache cannot be used: {error.strerror}; choose another folder with --cache"
        ) from error
