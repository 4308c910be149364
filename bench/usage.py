"""What processes use, as the kernel counts it: CPU time and memory, children included."""

import os
import re
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

TICKS: Final = os.sysconf("SC_CLK_TCK")
PAGE: Final = os.sysconf("SC_PAGE_SIZE")

SAMPLE_SECONDS: Final = 0.01
"""Between two looks at the memory of processes whose peak is wanted."""

_FIELD: Final = re.compile(r"^(\w+):\s+(\d+) kB$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes. `pss` counts a page shared by n processes as 1/n in each; `anonymous` is what no file stands behind.

    `anonymous` counts shared pages fully in each process, and `anonymous_share` as `pss` does.
    """

    pss: int = 0
    anonymous: int = 0
    anonymous_share: int = 0

    def __add__(self, other: "Memory") -> "Memory":
        return Memory(
            self.pss + other.pss,
            self.anonymous + other.anonymous,
            self.anonymous_share + other.anonymous_share,
        )


def descendants(roots: Iterable[int]) -> list[int]:
    """The living ones among `roots` and all their descendants."""
    children: dict[int, list[int]] = defaultdict(list)
    living = set[int]()
    for entry in os.scandir("/proc"):
        if entry.name.isdigit() and (stat := _stat(int(entry.name))):
            living.add(int(entry.name))
            children[int(stat[1])].append(int(entry.name))
    found: list[int] = []
    pending = [root for root in roots if root in living]
    while pending:
        pid = pending.pop()
        found.append(pid)
        pending += children[pid]
    return found


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time that the processes have used so far."""
    return sum(user_and_system_seconds(pids))


def user_and_system_seconds(pids: Iterable[int]) -> tuple[float, float]:
    """The same apart."""
    stats = [stat for pid in pids if (stat := _stat(pid))]
    return sum(int(stat[11]) for stat in stats) / TICKS, sum(int(stat[12]) for stat in stats) / TICKS


def tree_seconds(root: int) -> float:
    """What a process, all below it, and all of them that have ended so far have used."""
    stats = [stat for pid in descendants([root]) if (stat := _stat(pid))]
    return sum(int(ticks) for stat in stats for ticks in stat[11:15]) / TICKS


def busy_seconds() -> float:
    """What all processors of the machine have worked so far, for any process."""
    user, nice, system, _idle, _iowait, irq, softirq, steal = _processors()
    return (user + nice + system + irq + softirq + steal) / TICKS


def stolen_seconds() -> float:
    """What all processors of the machine could not work so far, as its host had something else for them to do."""
    return _processors()[-1] / TICKS


def _processors() -> list[int]:
    """Ticks of all processors together: `man 5 proc_stat` names them."""
    return [int(ticks) for ticks in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]


def memory(pids: Iterable[int]) -> Memory:
    """The memory of the processes together."""
    return sum((_memory(pid) for pid in pids), Memory())


def maps_file(pid: int, path: Path) -> bool:
    """Does the process have a mapping of this file?"""
    with suppress(OSError):
        return str(path.resolve()) in Path(f"/proc/{pid}/maps").read_text()
    return False


class PeakResident:
    """The largest sum of the resident memory of all processes below this one, sampled `every` so many seconds.

    Pages that several of them share count in each, so the true figure is lower.
    """

    def __init__(self, roots: Callable[[], Iterable[int]], every: float = SAMPLE_SECONDS) -> None:
        self.bytes = 0
        self._every = every
        self._roots = roots
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._done.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._done.is_set():
            self.bytes = max(self.bytes, sum(resident(pid) for pid in descendants(self._roots())))
            time.sleep(self._every)


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/<pid>/stat behind the name: state, parent, …; None for one that is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(") ")[2].split()
    except OSError:
        return None
    return fields if fields and fields[0] != "Z" else None


def _memory(pid: int) -> Memory:
    try:
        fields = dict(_FIELD.findall(Path(f"/proc/{pid}/smaps_rollup").read_text()))
    except OSError:
        return Memory()
    pss, anonymous, share = (1024 * int(fields.get(name, 0)) for name in ("Pss", "Anonymous", "Pss_Anon"))
    return Memory(pss, anonymous, share)


def resident(pid: int) -> int:
    """Bytes that a process has in memory, shared pages too; 0 of one that is gone."""
    with suppress(OSError, IndexError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
    return 0
