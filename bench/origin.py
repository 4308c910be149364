"""Where a figure comes from: of which code, on which machine, and when. Without this it says nothing."""

import os
import platform
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]

CODE: Final = ("--", ".", ":!docs", ":!*.md")
"""The files that figures depend on, as git's arguments: the report and other texts change none."""


@dataclass(frozen=True, slots=True)
class Origin:
    """`began` and `ended` are in UTC, as `2026-11-29 08:12`."""

    commit: str
    machine: str
    began: str
    ended: str

    @property
    def place(self) -> str:
        """Commit and machine, which must be the same for figures that are compared."""
        return f"commit {self.commit}, on {self.machine}"

    def __str__(self) -> str:
        return f"{self.began} to {self.ended.removeprefix(self.began[:11])} UTC, {self.place}"


def here(began: str) -> Origin:
    """Of this code, on this machine, until now."""
    return Origin(commit(), machine(), began, minute())


def minute() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d %H:%M}"


def commit() -> str:
    """The last commit that changed code; whether it was changed since."""
    found = _git("log", "-1", "--format=%h", "--abbrev=10", *CODE)
    if not found:
        return "unknown"
    return f"{found}, changed since" if _git("status", "--porcelain", *CODE) else found


def machine() -> str:
    cpuinfo = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in cpuinfo if line.startswith("model name")), "?")
    return f"{os.cpu_count()} processors {model}, Linux {platform.release()}, Python {platform.python_version()}"


def _git(*args: str) -> str:
    """What git says; nothing where there is no repository, or no git."""
    command = ["git", "-C", str(ROOT), *args]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
