"""What its owner alone may read is packed into what he alone may read; entries of others are not just believed."""

import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ringkv.dataset.cache import dataset_path
from ringkv.dataset.catalog import Catalog
from ringkv.dataset.dataset import Dataset
from ringkv.dataset.format import MANIFEST
from ringkv.dataset.generate import lines
from ringkv.dataset.packing.local import pack
from ringkv.dataset.publish import Order, publish
from ringkv.dataset.source.find import find
from tests.support.inline import Inline

NOBODY = 65_534


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def modes(dataset: Path) -> tuple[int, set[int]]:
    """Of the folder, and of its files."""
    return mode(dataset), {mode(path) for path in dataset.iterdir()}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "data").write_bytes(b"".join(lines(100, 1)))
    return tmp_path / "data"


@pytest.mark.parametrize(
    ("of_source", "of_folder", "of_files"),
    [(0o600, 0o700, 0o600), (0o400, 0o700, 0o600), (0o640, 0o750, 0o640), (0o644, 0o755, 0o644), (0o666, 0o755, 0o644)],
)
def test_a_dataset_gives_no_more_than_its_source(
    source: Path, tmp_path: Path, of_source: int, of_folder: int, of_files: int
) -> None:
    source.chmod(of_source)
    with umask(0o022):
        pack(source, tmp_path / "packed", executor=Inline())
    assert modes(tmp_path / "packed") == (of_folder, {of_files})


def test_one_secret_source_of_several_is_enough(source: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"".join(lines(100, 2)))
    other.chmod(0o600)
    pack(find([source, other]), tmp_path / "packed", executor=Inline(), on_duplicate="first")
    assert modes(tmp_path / "packed") == (0o700, {0o600})


@pytest.mark.parametrize("secret", ["its files", "its folder"])
def test_a_dataset_that_is_published_as_it_is_gives_no_more_than_it_gave(
    source: Path, tmp_path: Path, secret: str
) -> None:
    packed = tmp_path / "packed"
    with umask(0o022):
        pack(source, packed, executor=Inline())
        for path in packed.iterdir() if secret == "its files" else [packed]:
            path.chmod(path.stat().st_mode & 0o700)
        catalog = Catalog.at(tmp_path / "catalog")
        published = publish([packed], catalog, Order("a test"), lambda _: None, lambda _done, _all: None)
    assert modes(tmp_path / "catalog" / published.version.folder) == (0o700, {0o600})


def test_a_cache_that_is_made_is_its_users_own(source: Path, tmp_path: Path) -> None:
    dataset_path(source, cache_dir=tmp_path / "cache")
    assert mode(tmp_path / "cache") == 0o700
    (tmp_path / "shared").mkdir(mode=0o755)
    dataset_path(source, cache_dir=tmp_path / "shared")
    assert mode(tmp_path / "shared") == 0o755


def test_a_source_that_becomes_secret_takes_its_dataset_along(source: Path, tmp_path: Path) -> None:
    with umask(0o022):
        assert modes(dataset_path(source, cache_dir=tmp_path / "cache")) == (0o755, {0o644})
        source.chmod(0o600)
        assert modes(dataset_path(source, cache_dir=tmp_path / "cache")) == (0o700, {0o600})


def give_away(entry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the entry be another user's."""
    if os.getuid() == 0:
        os.chown(entry, NOBODY, -1)
    else:
        monkeypatch.setattr("ringkv.dataset.cache.os.geteuid", lambda: NOBODY)


def test_an_entry_of_somebody_else_is_used_if_it_says_that_it_is_of_this_source(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = dataset_path(source, cache_dir=tmp_path / "cache")
    before = made.stat().st_ino
    give_away(made, monkeypatch)
    assert dataset_path(source, cache_dir=tmp_path / "cache").stat().st_ino == before


def test_an_entry_of_somebody_else_is_made_anew_if_it_says_anything_else(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = dataset_path(source, cache_dir=tmp_path / "cache")
    said = json.loads((made / MANIFEST).read_text())
    said["sources"][0]["digest"] = "0" * 32
    (made / MANIFEST).write_text(json.dumps(said))
    assert dataset_path(source, cache_dir=tmp_path / "cache") == made
    with Dataset.open(made) as packed:
        assert packed.manifest.sources[0].digest == "0" * 32  # one's own is believed
    give_away(made, monkeypatch)
    assert dataset_path(source, cache_dir=tmp_path / "cache") == made
    with Dataset.open(made) as packed:
        assert packed.manifest.sources[0].digest != "0" * 32
