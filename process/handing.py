"""An open file, handed on to child processes: they read what their parent opened, whatever has its name since then."""

import os
from multiprocessing.reduction import DupFd
from typing import Any


class Handed:
    """A descriptor that goes along when it is pickled for a child process that is being started."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def take(self) -> int:
        """A descriptor of the same open file, for the caller to close."""
        return os.dup(self._descriptor)

    def __reduce__(self) -> tuple[Any, ...]:
        return _arrived, (DupFd(self._descriptor),)


def _arrived(sent: Any) -> Handed:
    return Handed(sent.detach())
