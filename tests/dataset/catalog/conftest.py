"""What the tests of catalogs share: a place for one, on this machine and in a store, and small datasets."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from ringkv.dataset.catalog import Catalog
from ringkv.dataset.packing.memory import Budget
from ringkv.dataset.publish import Order, Published
from ringkv.dataset.publish import publish as publish_data

ORDER = Order("a test", budget=Budget(1, 16 << 20))

Publish = Callable[..., Published]


@pytest.fixture(params=["folder", "bucket"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a catalog may be, and nothing is yet."""
    if request.param == "folder":
        return str(tmp_path / "catalog")
    found: str = request.getfixturevalue("bucket")
    return found


@pytest.fixture
def catalog(location: str) -> Catalog:
    return Catalog.at(location)


@pytest.fixture
def data(tmp_path: Path, key: Callable[[int], bytes]) -> Callable[..., Path]:
    """Makes a data file of keys by their numbers, or of numbers and values."""

    def make(numbers: range | Mapping[int, bytes], name: str = "data") -> Path:
        pairs = numbers if isinstance(numbers, Mapping) else {number: b"value %d" % number for number in numbers}
        path = tmp_path / name
        path.write_bytes(b"".join(b"%b %b\n" % (key(number), value) for number, value in pairs.items()))
        return path

    return make


@pytest.fixture
def publish(catalog: Catalog, tmp_path: Path) -> Publish:
    """Publishes to the catalog; what is told about the steps is added to `told`."""

    def run(path: Path, order: Order = ORDER, told: list[str] | None = None) -> Published:
        order = Order(
            order.by,
            budget=order.budget,
            cache=tmp_path / "cache",
            gate=order.gate,
            force=order.force,
            force_swap=order.force_swap,
        )
        steps = told if told is not None else []
        return publish_data([path], catalog, order, steps.append, lambda _done, _all: None)

    return run
