"""A program on a terminal of its own, as a person would see it."""

import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fcntl import ioctl
from struct import pack
from termios import TIOCSWINSZ
from typing import Final

from tests.support.processes import PATIENCE

SEQUENCE: Final = re.compile(r"\x1b(\[[0-9;?]*[A-Za-z]|\][^\x07]*\x07|[()][A-Z0-9]|[=>])")
INTERRUPT: Final = b"\x03"


class Terminal:
    """`raw` is all that was written so far, `text` the same without colours and movements."""

    def __init__(self, process: subprocess.Popen[bytes], descriptor: int) -> None:
        self.process = process
        self.raw = ""
        self._descriptor = descriptor

    @property
    def text(self) -> str:
        return SEQUENCE.sub("", self.raw)

    def wait_for(self, pattern: str) -> re.Match[str]:
        """The first match in what comes from now on."""
        seen = len(self.text)
        until = time.monotonic() + PATIENCE
        while True:
            if match := re.search(pattern, self.text[seen:]):
                return match
            assert self._read(until - time.monotonic()), f"no {pattern!r} in {self.text[seen:]!r}"

    def type(self, keys: bytes) -> None:
        os.write(self._descriptor, keys)

    def end(self) -> int:
        """Read on until the program ends; its exit code."""
        until = time.monotonic() + PATIENCE
        while self._read(until - time.monotonic()):
            pass
        return self.process.wait(PATIENCE)

    def _read(self, patience: float) -> bool:
        """Read what is there, as soon as there is something; False at the end, or when nothing comes."""
        if not select.select([self._descriptor], [], [], max(patience, 0))[0]:
            return False
        with suppress(OSError):  # EIO: the program has closed the other end
            block = os.read(self._descriptor, 1 << 16)
            self.raw += block.decode(errors="replace")
            return bool(block)
        return False


@contextmanager
def terminal(*args: str, columns: int = 160, rows: int = 40) -> Iterator[Terminal]:
    """Run `ringkv ARGS` on a terminal; it ends with the block."""
    ours, theirs = pty.openpty()
    ioctl(theirs, TIOCSWINSZ, pack("HHHH", rows, columns, 0, 0))
    inherited = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES", "NO_COLOR"}}
    process = subprocess.Popen(
        [sys.executable, "-c", _BECOME_FOREGROUND, *args],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=inherited | {"TERM": "xterm-256color"},
        start_new_session=True,
    )
    os.close(theirs)
    try:
        yield Terminal(process, ours)
    finally:
        process.kill()
        process.wait(PATIENCE)
        os.close(ours)


_BECOME_FOREGROUND: Final = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # so that Ctrl-C reaches it
os.execv(sys.executable, [sys.executable, "-m", "ringkv", *sys.argv[1:]])
"""
