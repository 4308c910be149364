"""How much memory this process may have: what its control groups allow, else what the machine has available."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

_CGROUPS: Final = Path("/sys/fs/cgroup")


def available() -> int:
    """In bytes. The page cache of a control group counts as available to it, as it does for the machine.

    Sources: https://docs.kernel.org/admin-guide/cgroup-v2.html#memory-interface-files,
    https://docs.kernel.org/admin-guide/cgroup-v1/memory.html
    """
    return min([_of_machine(), *_of_groups()])


def _of_machine() -> int:
    fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    return int(fields["MemAvailable"].split()[0]) << 10


def _of_groups() -> list[int]:
    """What each group from this process's own up to the root allows, as far as that can be read."""
    limits = []
    for root, path, name in _groups():
        # A container may see its own group as the root, which then has the limit.
        for folder in [root / path, *(root / path).parents]:
            with suppress(OSError, ValueError):
                limits.append(int((folder / name).read_text()))
            if folder == root:
                break
    return limits


def _groups() -> Iterator[tuple[Path, str, str]]:
    """The root of each hierarchy that can limit memory, this process's group in it, and the file that has the limit."""
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                yield _CGROUPS, path.strip("/"), "memory.max"
            elif "memory" in controllers.split(","):
                yield _CGROUPS / "memory", path.strip("/"), "memory.limit_in_bytes"
