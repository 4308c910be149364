"""Replies are what Redis clients read."""

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringkv.resp import codec


def read(reply: bytes) -> object:
    reader = codec.reader()
    reader.feed(reply)
    found = reader.gets()
    assert reader.gets() is codec.NOT_ENOUGH
    return found


@given(st.binary())
def test_bulk_strings_hold_any_bytes(value: bytes) -> None:
    assert read(codec.bulk(value)) == value


@given(st.lists(st.one_of(st.binary(), st.integers(-(2**63), 2**63 - 1), st.none())))
def test_arrays_hold_values_numbers_and_nulls(items: list[bytes | int | None]) -> None:
    encoded = [
        codec.NULL if item is None else codec.integer(item) if isinstance(item, int) else codec.bulk(item)
        for item in items
    ]
    assert read(codec.array(encoded)) == items


def test_resp3_has_maps_and_a_null_of_its_own() -> None:
    fields = [(codec.bulk("a"), codec.integer(1)), (codec.bulk("b"), codec.NULL3)]
    assert read(codec.map_(fields, resp3=True)) == {b"a": 1, b"b": None}


def test_a_map_is_an_array_of_names_and_values_in_resp2() -> None:
    fields = [(codec.bulk("a"), codec.integer(1)), (codec.bulk("b"), codec.NULL)]
    assert read(codec.map_(fields, resp3=False)) == [b"a", 1, b"b", None]


@given(st.text(st.characters(codec="utf-8")))
def test_an_error_is_one_line_whatever_its_message(message: str) -> None:
    reply = codec.error("ERR", message)
    assert reply.count(b"\n") == 1
    assert isinstance(read(reply), hiredis.ReplyError)


def test_a_get_is_written_as_hiredis_writes_it() -> None:
    key = b"f8a24bb8-eff8-41dc-929b-10b4c3e49e05"
    assert codec.get_commands([key, key]) == 2 * hiredis.pack_command((b"GET", key))  # type: ignore[arg-type]


@pytest.mark.parametrize("garbage", [b"?", b"$x\r\n", b"*1\r\n$-5\r\n"])
def test_what_is_not_resp_is_refused(garbage: bytes) -> None:
    reader = codec.reader()
    reader.feed(garbage + b"\r\n")
    with pytest.raises(hiredis.ProtocolError):
        reader.gets()
