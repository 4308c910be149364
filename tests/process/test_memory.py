"""How much memory a process may have: what the machine has available, and no more than its control group allows."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ringkv.process.memory import available

LIMIT = 300 << 20
_FILES = {Path("/sys/fs/cgroup/memory"): "memory.limit_in_bytes", Path("/sys/fs/cgroup"): "memory.max"}


def test_without_a_limit_it_is_what_the_machine_has_available() -> None:
    total = next(int(line.split()[1]) for line in Path("/proc/meminfo").read_text().splitlines() if "MemTotal" in line)
    assert 0 < available() <= total << 10


@pytest.fixture
def limited(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A control group that allows LIMIT bytes."""
    root, name = next((root, name) for root, name in _FILES.items() if (root / "cgroup.procs").exists())
    group = root / f"ringkv-test-{abs(hash(request.node.nodeid + str(id(request))))}"
    group.mkdir()
    try:
        (group / name).write_text(str(LIMIT))
        yield group
    finally:
        group.rmdir()


def test_a_control_group_bounds_it(limited: Path) -> None:
    enter = f"echo $$ > {limited}/cgroup.procs && exec {sys.executable} -c"
    tell = "from ringkv.process.memory import available; print(available())"
    done = subprocess.run(["sh", "-c", f"{enter} '{tell}'"], capture_output=True, text=True, check=True)
    assert int(done.stdout) == LIMIT
