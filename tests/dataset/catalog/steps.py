"""A publisher that stops before each of its steps, which are the calls that change the disk or the store.

    python -m tests.dataset.catalog.steps CATALOG DATA CACHE

Prints the number of each step, and takes it when it has read a line.
"""

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ringkv.dataset.catalog import Catalog
from ringkv.dataset.local_objects import LocalObjects
from ringkv.dataset.packing.memory import Budget
from ringkv.dataset.publish import Order, publish
from ringkv.dataset.store_objects import StoreObjects

STEPS: dict[Any, tuple[str, ...]] = {
    os: ("fsync", "rename", "link", "unlink", "mkdir", "rmdir"),
    StoreObjects: ("create", "swap", "delete"),
    LocalObjects: ("create", "swap", "delete"),
}


def before_each_step(told: Callable[[int], None]) -> None:
    """Have this process tell the number of each step, from 0 on, before it takes it."""
    taken = 0
    turn = threading.RLock()  # a step of a catalog has steps of the disk in it

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            nonlocal taken
            with turn:
                told(taken)
                taken += 1
            return function(*args, **named)

        return call

    for owner, names in STEPS.items():
        for name in names:
            setattr(owner, name, counted(getattr(owner, name)))


def publish_to(location: str, data: Path, cache: Path) -> None:
    order = Order("killed", budget=Budget(1, 16 << 20), cache=cache)
    publish([data], Catalog.at(location), order, lambda _line: None, lambda _done, _all: None)


def wait_for_a_line(step: int) -> None:
    sys.stdout.write(f"{step}\n")
    sys.stdout.flush()
    sys.stdin.readline()


if __name__ == "__main__":
    before_each_step(wait_for_a_line)
    publish_to(sys.argv[1], *map(Path, sys.argv[2:]))
