"""Who may read a dataset: nobody who may not read each of its sources."""

import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final

ALL: Final = stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH


def limit(folder: Path, files: Iterable[Path]) -> None:
    """Take those permissions from group and others that any of the sources' files does not give. Raises OSError.

    To be called before the dataset has its name. Streams have no permissions to go by.
    """
    rights = ALL
    for file in files:
        rights &= stat.S_IMODE(file.stat().st_mode)
    readable = (rights & (stat.S_IRGRP | stat.S_IROTH)) | stat.S_IRWXU
    for path in folder.iterdir():
        path.chmod(stat.S_IMODE(path.stat().st_mode) & readable)
    # Whoever may read the files of a folder has to be able to enter it.
    folder.chmod(stat.S_IMODE(folder.stat().st_mode) & (readable | (readable & ALL) >> 2))
