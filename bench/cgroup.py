"""A control group that bounds the memory of a benchmark's processes, page cache included; version 2 or 1 of them."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

MOUNTED: Final = Path("/sys/fs/cgroup")


class CannotLimit(Exception):
    """No such group can be made here; the text says why."""


class MemoryGroup:
    """What is started with `prefix` may use `limit` bytes of memory, and no swap. Raises CannotLimit on entering."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.version = 0
        self._folder = Path()

    def __enter__(self) -> Self:
        name = f"ringkv-bench-{os.getpid()}"
        try:
            if (MOUNTED / "cgroup.controllers").exists():
                self._version_2(name)
            elif (MOUNTED / "memory" / "memory.limit_in_bytes").exists():
                self._version_1(name)
            else:
                raise CannotLimit(f"{MOUNTED} has no memory controller")
        except OSError as error:
            self.__exit__()
            raise CannotLimit(f"no group can be made in {MOUNTED}: {error.strerror}") from error
        return self

    def __exit__(self, *_error: object) -> None:
        with suppress(OSError):
            self._folder.rmdir()

    @property
    def prefix(self) -> tuple[str, ...]:
        """In front of a command, so that it runs in the group from its first instruction on."""
        return "sh", "-c", 'echo $$ > "$0" && exec "$@"', str(self._folder / "cgroup.procs")

    def _version_2(self, name: str) -> None:
        if "memory" not in (MOUNTED / "cgroup.subtree_control").read_text().split():
            (MOUNTED / "cgroup.subtree_control").write_text("+memory")
        self._make(2, MOUNTED / name)
        (self._folder / "memory.max").write_text(str(self.limit))
        with suppress(OSError):  # where there is no swap, this file is missing
            (self._folder / "memory.swap.max").write_text("0")

    def _version_1(self, name: str) -> None:
        self._make(1, MOUNTED / "memory" / name)
        (self._folder / "memory.limit_in_bytes").write_text(str(self.limit))

    def _make(self, version: int, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.version, self._folder = version, folder
