"""current.json tells what is served, whole at every moment, and nothing else is taken for it."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringkv.cluster.errors import CatalogError, VersionConflict
from ringkv.dataset.catalog import (
    MAX_HISTORY,
    Catalog,
    Current,
    Version,
    is_catalog,
    is_folder_name,
    new_folder,
    parse_current,
)

A, B = "ab" * 16, "cd" * 16


def test_a_place_where_nothing_was_published_serves_nothing(catalog: Catalog) -> None:
    assert catalog.current() is None
    assert catalog.datasets() == []


def test_versions_follow_each_other(catalog: Catalog) -> None:
    one = catalog.swap(None, A, new_folder(A), "me", forced=False)
    two = catalog.swap(one, B, new_folder(B), "you", forced=True)
    assert catalog.current() == two
    assert (two.version.serial, two.version.dataset, two.version.by, two.version.forced) == (2, B, "you", True)
    assert two.history == (one.version,)


def test_who_comes_second_is_told_who_was_first(catalog: Catalog) -> None:
    one = catalog.swap(None, A, new_folder(A), "me", forced=False)
    for expected in (None, Current(one.version, (one.version,))):
        with pytest.raises(VersionConflict, match=f"me has published dataset {A} as version 1 meanwhile"):
            catalog.swap(expected, B, new_folder(B), "you", forced=False)
    assert catalog.current() == one


def test_of_many_who_publish_at_once_one_wins(catalog: Catalog) -> None:
    one = catalog.swap(None, A, new_folder(A), "me", forced=False)
    begin = Barrier(6)

    def swap(number: int) -> bool:
        begin.wait()
        try:
            catalog.swap(one, B, new_folder(B), str(number), forced=False)
        except VersionConflict:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        won = [str(number) for number, has in enumerate(pool.map(swap, range(6))) if has]
    current = catalog.current()
    assert current
    assert ([current.version.by], current.version.serial) == (won, 2)


def test_the_history_is_short(tmp_path: Path) -> None:
    catalog = Catalog.at(tmp_path)
    current = None
    for _ in range(MAX_HISTORY + 5):
        current = catalog.swap(current, A, new_folder(A), "me", forced=False)
    assert current
    assert [version.serial for version in current.history] == list(range(MAX_HISTORY + 4, 4, -1))


def test_an_address_or_a_folder_with_current_json_is_a_catalog(tmp_path: Path) -> None:
    assert not is_catalog(tmp_path)
    assert not is_catalog(tmp_path / "nothing")
    Catalog.at(tmp_path).swap(None, A, new_folder(A), "me", forced=False)
    assert is_catalog(tmp_path)
    assert is_catalog(str(tmp_path))
    assert is_catalog("s3://bucket/prefix")


def test_a_folder_has_a_name_of_its_own() -> None:
    names = {new_folder(A) for _ in range(100)}
    assert len(names) == 100
    assert all(map(is_folder_name, names))


VERSION = Version(3, A, f"{A}.01234567", "me@host", "2026-01-02T03:04:05+00:00", forced=False)
OLDER = Version(2, B, f"{B}.01234567", "me@host", "2026-01-01T03:04:05+00:00", forced=True)


def said(**changed: Any) -> bytes:
    found = {"ringkv": 1, **asdict(VERSION), "history": [asdict(OLDER)], **changed}
    return json.dumps({name: value for name, value in found.items() if value is not ...}).encode()


def test_what_was_written_is_read() -> None:
    current = Current(VERSION, (OLDER,))
    assert parse_current("", current.text().encode()) == current
    assert parse_current("", said()) == current


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"null",
        b"[]",
        b'{"ringkv": 1}',
        b"[" * 100_000,
        b'"\xff"',
        b" " * 300_000 + said(),
        said(ringkv=2),
        said(ringkv=...),
        said(history=...),
        said(history={"a": 1}),
        said(history=[{**asdict(OLDER), "history": []}]),
        said(history=[asdict(VERSION)]),
        said(history=[asdict(OLDER)] * 2),
        said(history=[{**asdict(OLDER), "serial": 0}]),
        said(history=[1]),
        said(more=1),
        said(serial=-1),
        said(serial=0),
        said(serial=True),
        said(serial=3.0),
        said(serial="3"),
        said(serial=1 << 63),
        said(dataset=A.upper()),
        said(dataset=A[:-1]),
        said(dataset=A + "\n"),
        said(dataset=None),
        said(folder=f"{B}.01234567"),
        said(folder=f"../{A}.01234567"),
        said(folder=f"{A}.01234567/.."),
        said(folder=A),
        said(by="two\nlines"),
        said(by="x" * 257),
        said(by="\ud800"),
        said(by=1),
        said(at="yesterday"),
        said(at="2026-01-02T03:04:05"),
        said(at="2026-01-02\n03:04:05+00:00"),
        said(at=0),
        said(forced=1),
        said(forced=None),
    ],
)
def test_what_nobody_has_published_is_refused(text: bytes) -> None:
    with pytest.raises(
        CatalogError, match=r"^here: is not what `ringkv publish` writes; remove it, and publish again$"
    ):
        parse_current("here", text)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner, max_size=3)
)


def is_refused_or_read(text: bytes) -> None:
    try:
        current = parse_current("here", text)
    except CatalogError:
        return
    assert parse_current("", current.text().encode()) == current


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["ringkv", "history", *asdict(VERSION)]), json_values, min_size=1))
def test_any_other_value_is_refused_or_read(changed: dict[str, Any]) -> None:
    is_refused_or_read(said(**changed))


@settings(deadline=None)
@given(st.binary(max_size=300), st.integers(0, 400), st.integers(0, 400))
def test_any_other_bytes_are_refused_or_read(noise: bytes, begin: int, end: int) -> None:
    text = said()
    is_refused_or_read(text[:begin] + noise + text[end:])


def test_a_damaged_catalog_is_told_by_its_name(catalog: Catalog) -> None:
    catalog.objects.create("current.json", b"{}")
    with pytest.raises(CatalogError, match=f"{catalog.location}/current.json: is not what"):
        catalog.current()
