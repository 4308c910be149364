"""Whatever current.json holds: a version that can be told and written again, or one error of the catalog's own."""

import json
import random
from copy import deepcopy
from pathlib import Path
from typing import Any

from ringkv.cluster.errors import CatalogError
from ringkv.dataset.catalog import CURRENT, Catalog, Current, Version
from tests.fuzz.cases import cases, mutated

IDS = ["0123456789abcdef" * 2, "fedcba9876543210" * 2]
VALUES: list[Any] = [
    -1,
    0,
    1.5,
    None,
    True,
    "",
    "x",
    "../x",
    [],
    {},
    [{}],
    "\ud800",
    "\x1b[2J",
    1 << 70,
    10**400,
    "9" * 5000,
]


def version(serial: int) -> Version:
    dataset = IDS[serial % 2]
    return Version(serial, dataset, f"{dataset}.01234567", "somebody", "2026-01-01T00:00:00+00:00", forced=False)


GOOD = Current(version(3), (version(2), version(1))).text()


def changed(chooser: random.Random) -> bytes:
    """Something else at some places of it, or other bytes."""
    if chooser.random() < 0.5:
        return mutated(chooser, GOOD.encode())
    said = json.loads(GOOD)
    for _ in range(chooser.randint(1, 2)):
        where = chooser.choice([said, *(one for one in said.get("history") or [] if isinstance(one, dict))])
        where[chooser.choice([*where, "new"])] = deepcopy(chooser.choice(VALUES))  # it may be changed next
        if not isinstance(said.get("history"), list):
            break
    return json.dumps(said).encode()


def test_a_catalog_that_was_changed_is_read_rightly_or_refused(tmp_path: Path) -> None:
    catalog = Catalog.at(tmp_path)
    readings, refusals = 0, list[str]()
    for seed, chooser in cases(1500):
        (tmp_path / CURRENT).write_bytes(changed(chooser))
        try:
            current = catalog.current()
        except CatalogError as error:
            refusals.append(str(error))
            continue
        assert current is not None, seed
        assert all(one.folder.startswith(f"{one.dataset}.") for one in (current.version, *current.history)), seed
        (tmp_path / CURRENT).write_text(current.text())
        assert catalog.current() == current, seed
        readings += 1
    assert readings
    assert refusals
    assert all(map(str.isprintable, refusals))
