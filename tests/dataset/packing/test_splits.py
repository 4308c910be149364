"""Whoever reads a text in ranges reads each of its lines once, wherever ranges and lines begin and end."""

import bz2
import gzip
import lzma
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xxhash import xxh3_128_hexdigest

from ringkv.cluster.errors import SourceError, StoreError
from ringkv.cluster.limits import MAX_VALUE
from ringkv.dataset.objects import Listed, Objects
from ringkv.dataset.packing.splits import Seen, check_unchanged, find_texts, splits
from ringkv.dataset.source.lines import parsed
from ringkv.dataset.text import MAX_LINE, Malformed


def read(path: str | Path, size: int) -> list[bytes]:
    """What the splits of a text, or of several, have read, a piece for each of them."""
    return [b"".join(split.pieces(size, Seen())) for split in splits(find_texts([str(path)]), size)]


@given(st.lists(st.text("ab ", max_size=12).map(str.encode), max_size=12), st.booleans())
@settings(max_examples=60, deadline=None)
def test_each_line_is_read_by_the_split_in_which_it_starts(lines: list[bytes], closed: bool) -> None:  # noqa: FBT001
    data = b"\n".join(lines) + b"\n" * closed
    with TemporaryDirectory() as name:
        path = Path(name, "data")
        path.write_bytes(data)
        for size in (1, 2, 3, 7, 1000):
            pieces = read(path, size)
            assert b"".join(pieces) == data
            at = 0
            for number, piece in enumerate(pieces):
                assert not piece or at // size == number
                starts = [at, *(at + here + 1 for here in range(len(piece) - 1) if piece[here : here + 1] == b"\n")]
                assert not piece or {start // size for start in starts} == {number}
                at += len(piece)


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_compressed_text_is_one_split_of_pieces_of_whole_lines(
    compress: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    data = b"".join(b"line %d\r\n" % number for number in range(1000))
    (tmp_path / "data").write_bytes(compress(data))
    (split,) = splits(find_texts([str(tmp_path / "data")]), 100)
    seen = Seen()
    pieces = list(split.pieces(100, seen))
    assert b"".join(pieces) == data
    assert len(pieces) > 50
    assert all(piece.endswith(b"\n") for piece in pieces)
    assert (seen.count, seen.hash.hexdigest()) == (len(compress(data)), xxh3_128_hexdigest(compress(data)))


def test_compressed_text_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(gzip.compress(b"a line\n" * 100_000)[:-20])
    with pytest.raises(SourceError, match="data: its gzip data are damaged or cut off"):
        read(tmp_path / "data", 1 << 20)


def test_the_largest_value_crosses_many_splits(tmp_path: Path, key: Callable[[int], bytes]) -> None:
    lines = [key(1) + b" small", key(2) + b" " + bytes(MAX_VALUE), key(3) + b" small"]
    (tmp_path / "data").write_bytes(b"\n".join(lines))
    pieces = [piece for piece in read(tmp_path / "data", 16 << 20) if piece]
    assert pieces == [b"\n".join(lines[:2]) + b"\n", lines[2]]


def test_a_line_that_is_too_long_is_refused_where_it_begins(tmp_path: Path, key: Callable[[int], bytes]) -> None:
    first = key(1) + b" small\n"
    with (tmp_path / "data").open("wb") as file:
        file.write(first + key(2) + b" ")
        file.truncate(4 * MAX_LINE)
    found = read(tmp_path / "data", 64 << 20)
    refused = parsed(found[0])
    assert isinstance(refused, Malformed)
    assert refused == (1, f"the value is longer than {MAX_VALUE} bytes")
    assert max(map(len, found)) <= 2 * MAX_LINE


def test_a_folder_of_a_store_is_its_objects_in_order(bucket: str) -> None:
    objects = Objects.at(bucket)
    for name in ("text/b", "text/a/c", "text/_SUCCESS", "text/.hidden", "alone"):
        objects.create(name, name.encode() + b"\n")
    assert read(f"{bucket}/text", 1000) == [b"text/a/c\n", b"text/b\n"]
    assert read(f"{bucket}/text/", 1000) == [b"text/a/c\n", b"text/b\n"]
    assert read(f"{bucket}/alone", 3) == [b"alone\n", b""]
    assert [text.name for text in find_texts([f"{bucket}/alone"])] == [f"{bucket}/alone"]
    with pytest.raises(SourceError, match="nothing: no such object, and no folder with data"):
        find_texts([f"{bucket}/nothing"])
    with pytest.raises(StoreError, match="is not the address of a store"):
        find_texts(["ftp://somewhere/text"])


def test_the_marks_of_folders_in_a_store_are_no_texts(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Consoles make them: empty objects `text/` and `text/sub/`, listed without their slash, and not found so."""
    objects = Objects.at(bucket)
    objects.create("text/sub/a", b"a line\n")
    listing = type(objects).list

    def marked(self: Objects, prefix: str = "") -> Iterator[Listed]:
        yield from (Listed(name, 0, datetime.now(UTC)) for name in ("", "empty", "sub"))
        yield from listing(self, prefix)

    monkeypatch.setattr(type(objects), "list", marked)
    texts = find_texts([f"{bucket}/text"])
    check_unchanged(texts)
    assert [text.name for text in texts] == [f"{bucket}/text/sub/a"]


def test_a_table_and_a_stream_are_refused(tmp_path: Path) -> None:
    (tmp_path / "table").write_bytes(b"PAR1 and so on")
    with pytest.raises(SourceError, match="table: is a table, Parquet; read it as a DataFrame"):
        find_texts([str(tmp_path / "table")])
    with pytest.raises(SourceError, match="is a stream, which several machines cannot read"):
        find_texts(["/dev/null"])


def test_a_text_that_changes_meanwhile_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"before\n")
    texts = find_texts([str(tmp_path / "data")])
    check_unchanged(texts)
    (tmp_path / "data").write_bytes(b"behind\nit\n")
    with pytest.raises(SourceError, match="data: changed while it was packed"):
        check_unchanged(texts)
