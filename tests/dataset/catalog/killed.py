"""Kill a publisher before every step that it takes, one after the other, and look what is left each time.

    python -m tests.dataset.catalog.killed CATALOG FIRST SECOND DATA CACHE

FIRST and SECOND are packed datasets; each child publishes DATA, which is as SECOND, where FIRST is served. Prints how
many steps there are, when one has run through; anything unexpected is an exception.

Every publisher and everybody who looks is a fork of this process, which itself never touches a store: its library's
threads would not survive the fork.
"""

import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ringkv.dataset.catalog import Catalog
from ringkv.dataset.content import opened_in
from ringkv.dataset.local_objects import LocalObjects
from ringkv.dataset.prune import prune
from tests.dataset.catalog.steps import before_each_step, publish_to


def publish_until(step: int, location: str, data: Path, cache: Path) -> None:
    """Publish, and be killed before the step of this number."""

    def kill(number: int) -> None:
        if number == step:
            os.kill(os.getpid(), signal.SIGKILL)

    before_each_step(kill)
    publish_to(location, data, cache)


def check(location: str, first: Path, second: Path, cache: Path) -> None:
    """One of the two is served, whole; publishing again works; and pruning leaves nothing else."""
    catalog = Catalog.at(location)
    served = catalog.current()
    assert served
    assert served.version.dataset in {dataset_id(first), dataset_id(second)}
    read_all(catalog)
    publish_to(location, second, cache)
    current = catalog.current()
    assert current
    assert (current.version.dataset, current.version.serial) == (dataset_id(second), 2)
    read_all(catalog)
    prune(catalog, 2, 0.0, dry_run=False)
    wanted = {current.version.folder, current.history[0].folder}
    assert {found.name.partition("/")[0] for found in catalog.objects.list()} == {"current.json", *wanted}
    if catalog.objects.path:
        there = {path.name for path in catalog.objects.path.iterdir()}
        assert there == {".current.json.lock", "current.json", *wanted}, there


def read_all(catalog: Catalog) -> None:
    current = catalog.current()
    assert current
    with opened_in(catalog.objects, current.version.folder) as content:
        keys = sum(block.row.keys for block in content.blocks(range(content.manifest.blocks)))
        assert keys == content.manifest.keys


def dataset_id(data: Path) -> str:
    with opened_in(LocalObjects(data), "") as content:
        return content.manifest.dataset_id


def in_child(function: Callable[..., None], *args: Any) -> int:
    """The exit code of a fork that does this; minus the signal that has killed it."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 1
    try:
        function(*args)
        code = 0
    finally:
        if code:
            traceback.print_exc()
        os._exit(code)


def main(location: str, first: Path, second: Path, data: Path, cache: Path) -> None:
    step, code = 0, -signal.SIGKILL
    while code == -signal.SIGKILL:
        place = f"{location}/{step}"
        packed = cache / str(step)  # nothing that an earlier step has packed
        assert in_child(publish_to, place, first, packed) == 0
        code = in_child(publish_until, step, place, data, packed)
        assert in_child(check, place, first, second, packed) == 0, f"step {step}"
        step += 1
    assert code == 0
    sys.stdout.write(f"{step - 1}\n")


if __name__ == "__main__":
    main(sys.argv[1], *map(Path, sys.argv[2:]))
