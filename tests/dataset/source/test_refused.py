"""What is no data source is refused in one line that says which file, where in it, and why."""

import gzip
import os
import random
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import numpy as np
import pyarrow as pa
import pytest

from ringkv.cluster.errors import DatasetError, DuplicateKey, MalformedLine, SourceError
from ringkv.cluster.limits import MAX_VALUE
from ringkv.dataset.packing.local import pack
from ringkv.dataset.packing.memory import Budget
from ringkv.dataset.source.find import find
from tests.dataset.source import kinds
from tests.dataset.source.kinds import COMPRESSIONS, KEYS, fed_pipe, table, text

Key = Callable[[int], bytes]

WANT = "(want xxxxxxxx-xxxx-4xxx-[89ab]xxx-xxxxxxxxxxxx)"
CHOOSE = "remove one, or choose with --on-duplicate=first|last"


def refusal(folder: Path, *data: Path, chunk_size: int = 16 << 20) -> str:
    """Why `data` cannot be packed; nothing may stay behind."""
    before = sorted(folder.iterdir())
    with pytest.raises(DatasetError) as raised:
        pack(find(data), folder / "packed", budget=Budget(2, chunk_size))
    assert sorted(folder.iterdir()) == before
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.fixture
def pairs(key: Key) -> dict[bytes, bytes]:
    return {key(number): b"value %d" % number for number in range(1, 101)}


@pytest.fixture
def lines(pairs: dict[bytes, bytes]) -> bytes:
    return text(pairs)


@pytest.mark.parametrize("chunk_size", [100, 1 << 20])
@pytest.mark.parametrize("name", COMPRESSIONS)
def test_a_malformed_line_of_a_compressed_file_is_named(
    tmp_path: Path, lines: bytes, name: str, chunk_size: int
) -> None:
    (tmp_path / "data").write_bytes(COMPRESSIONS[name](lines + b"oops\n" + lines))
    assert refusal(tmp_path, tmp_path / "data", chunk_size=chunk_size) == (
        f"{tmp_path}/data:101: not a UUID version 4: 'oops' {WANT}"
    )


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("gzip", "Truncated compressed stream"),
        ("bz2", "Truncated compressed stream"),
        ("zstd", "Truncated compressed stream"),
        ("lz4", "Truncated compressed stream"),
        ("xz", "Compressed file ended before the end-of-stream marker was reached"),
    ],
)
def test_a_compressed_file_or_stream_that_was_cut_off_is_refused(tmp_path: Path, name: str, reason: str) -> None:
    rng = random.Random(1)
    keys = [str(UUID(int=rng.getrandbits(128), version=4)).encode() for _ in range(999)]
    content = COMPRESSIONS[name](text(dict.fromkeys(keys, b"value")))
    for size in (len(content) // 2, len(content) - 1):
        (tmp_path / "data").write_bytes(content[:size])
        said = refusal(tmp_path, tmp_path / "data")
        assert said == f"{tmp_path}/data: its {name} data are damaged or cut off: {reason}"
        with fed_pipe(tmp_path / "pipe", content[:size]) as pipe:
            said = refusal(tmp_path, pipe)
        assert said == f"{tmp_path}/pipe: its {name} data are damaged or cut off: {reason}"


def test_a_damaged_compressed_file_is_refused(tmp_path: Path, lines: bytes) -> None:
    content = bytearray(gzip.compress(lines))
    content[-6] ^= 1
    (tmp_path / "data").write_bytes(content)
    assert refusal(tmp_path, tmp_path / "data") == (
        f"{tmp_path}/data: its gzip data are damaged or cut off: zlib inflate failed: incorrect data check"
    )


@pytest.mark.parametrize("chunk_size", [100, 1 << 20])
@pytest.mark.parametrize("cut", [-1, -3, -10, -30])
def test_a_stream_that_was_cut_in_the_middle_of_a_line_is_refused(
    tmp_path: Path, lines: bytes, cut: int, chunk_size: int
) -> None:
    """A file may end so; of a stream whose writer has died nothing else tells."""
    with fed_pipe(tmp_path / "pipe", lines[:cut]) as pipe:
        said = refusal(tmp_path, pipe, chunk_size=chunk_size)
    if cut == -30:
        assert said == f"{tmp_path}/pipe:100: not a UUID version 4: '00000064-0000-400' {WANT}"
    else:
        reason = "the stream ends within this line; if it is whole, end it with a newline"
        assert said == f"{tmp_path}/pipe:100: {reason}"
    (tmp_path / "data").write_bytes(lines[:-1])
    assert pack(tmp_path / "data", tmp_path / "packed").keys == 100


@pytest.mark.parametrize("write", [kinds.write_arrow, kinds.write_parquet])
def test_a_table_needs_its_columns_of_the_right_types(tmp_path: Path, write: Callable[[Path, pa.Table], None]) -> None:
    content = table({})

    def said(changed: pa.Table) -> str:
        write(tmp_path / "table", changed)
        return refusal(tmp_path, tmp_path / "table").removeprefix(f"{tmp_path}/table: ")

    rule = "a table must have one `key` and one `value`"
    assert said(content.drop_columns("key")) == f"has no columns `key`; {rule}"
    assert said(content.drop_columns("value")) == f"has no columns `value`; {rule}"
    assert said(content.append_column("key", content["key"])) == f"has 2 columns `key`; {rule}"
    rule = "it must be text, 16 bytes or a UUID"
    numbers = pa.array([], pa.int64())
    assert said(content.set_column(2, "key", numbers)) == f"column `key` is int64; {rule}"
    fifteen = pa.array([], pa.binary(15))
    assert said(content.set_column(2, "key", fifteen)) == f"column `key` is fixed_size_binary[15]; {rule}"
    assert said(content.set_column(0, "value", numbers)) == "column `value` is int64; it must be binary or text"


@pytest.mark.parametrize("chunk_size", [100, 1 << 20])
@pytest.mark.parametrize("write", [kinds.write_arrow, kinds.write_parquet])
def test_a_bad_row_of_a_table_is_named(
    tmp_path: Path, key: Key, write: Callable[[Path, pa.Table], None], chunk_size: int
) -> None:
    def said(keys: pa.Array, values: pa.Array) -> str:
        write(tmp_path / "table", pa.table({"key": keys, "value": values}))
        return refusal(tmp_path, tmp_path / "table", chunk_size=chunk_size).removeprefix(f"{tmp_path}/table: ")

    keys, values = [key(number).decode() for number in range(20)], [b"v"] * 20
    raw = [UUID(name).bytes for name in keys]
    assert said(pa.array([*keys, None]), pa.array([*values, b""])) == "row 21: the key is null"
    assert said(pa.array(keys), pa.array([*values[:7], None, *values[8:]])) == "row 8: the value is null"
    assert said(pa.array([*keys, "oops"]), pa.array([*values, b""])) == f"row 21: not a UUID version 4: 'oops' {WANT}"
    one = UUID("f8a24bb8-eff8-11dc-929b-10b4c3e49e05")
    assert said(pa.array([*raw, one.bytes], pa.binary(16)), pa.array([*values, b""])) == (
        f"row 21: not a UUID version 4: '{one}' {WANT}"
    )
    assert said(pa.array([*raw, b"short"]), pa.array([*values, b""])) == (
        f"row 21: not a UUID version 4: 'short' {WANT}"
    )


def test_a_value_of_a_table_may_not_be_longer_than_others(tmp_path: Path, key: Key) -> None:
    kinds.write_arrow(tmp_path / "table", table({key(1): b"", key(2): bytes(MAX_VALUE + 1)}, values=pa.large_binary()))
    assert refusal(tmp_path, tmp_path / "table") == (
        f"{tmp_path}/table: row 2: the value is longer than {MAX_VALUE} bytes"
    )


@pytest.mark.parametrize(("write", "name"), [(kinds.write_arrow, "Arrow"), (kinds.write_parquet, "Parquet")])
def test_a_table_that_was_cut_off_is_refused(
    tmp_path: Path, pairs: dict[bytes, bytes], write: Callable[[Path, pa.Table], None], name: str
) -> None:
    write(tmp_path / "table", table(pairs))
    content = (tmp_path / "table").read_bytes()
    for size in (8, len(content) // 2, len(content) - 1):
        (tmp_path / "table").write_bytes(content[:size])
        assert refusal(tmp_path, tmp_path / "table").startswith(
            f"{tmp_path}/table: its {name} data are damaged or cut off: "
        )


def int32(*numbers: int) -> bytes:
    return np.array(numbers, "<i4").tobytes()


@pytest.mark.parametrize(
    ("values", "right", "wrong"),
    [
        (pa.array([b"one", b"four"]), int32(0, 3, 7), int32(0, 9, 7)),
        (pa.array([b"one", b"four"]), int32(0, 3, 7), int32(0, 3, 1 << 30)),
        (pa.array([b"one", b"four"]).dictionary_encode(), int32(0, 1), int32(0, 1 << 30)),
        (pa.array([b"one", b"four"]).dictionary_encode(), int32(0, 3, 7), int32(0, 1 << 30, 7)),
        (pa.array([b"much too long"], pa.binary_view()), b"much" + int32(0, 0), b"much" + int32(0, 1 << 30)),
        (pa.array([b""]), b"other", b"\xff\xfe\xfd\xfc\xfb"),
    ],
    ids=["offsets that fall", "an end", "an index", "an end in a dictionary", "a view", "a name"],
)
def test_a_table_that_leads_out_of_its_own_bytes_is_refused(
    tmp_path: Path, key: Key, values: pa.Array, right: bytes, wrong: bytes
) -> None:
    keys = KEYS["fixed"]([key(number) for number in range(len(values))])
    kinds.write_arrow(tmp_path / "table", pa.table({"key": keys, "value": values, "other": values}))
    content = (tmp_path / "table").read_bytes()
    assert right in content
    (tmp_path / "table").write_bytes(content.replace(right, wrong))
    said = refusal(tmp_path, tmp_path / "table")
    assert said.startswith(f"{tmp_path}/table: its Arrow data are damaged or cut off: ")


@pytest.mark.parametrize(("write", "name"), [(kinds.write_arrow, "Arrow"), (kinds.write_parquet, "Parquet")])
def test_a_table_is_not_read_from_a_stream(
    tmp_path: Path, pairs: dict[bytes, bytes], write: Callable[[Path, pa.Table], None], name: str
) -> None:
    write(tmp_path / "table", table(pairs))
    with fed_pipe(tmp_path / "pipe", (tmp_path / "table").read_bytes()) as pipe:
        assert refusal(tmp_path, pipe) == (
            f"{tmp_path}/pipe: is a table, {name}, which cannot be read from a stream; give its path"
        )


@pytest.mark.parametrize("chunk_size", [100, 1 << 20])
def test_a_duplicate_names_both_places(tmp_path: Path, key: Key, lines: bytes, chunk_size: int) -> None:
    again = {key(1000): b"", key(7).upper(): b"again"}
    (tmp_path / "a.data").write_bytes(lines)
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "b.gz").write_bytes(gzip.compress(text(again)))
    kinds.write_parquet(tmp_path / "c.parquet", table(again))
    a, b, c = (tmp_path / name for name in ("a.data", "b.gz", "c.parquet"))
    name = key(7).decode()

    def said(*data: Path) -> str:
        return refusal(tmp_path, *data, chunk_size=chunk_size)

    assert said(a, tmp_path / "empty", b) == f"{b}:2: key {name} stands at {a}:7 too; {CHOOSE}"
    assert said(b, a) == f"{a}:7: key {name} stands at {b}:2 too; {CHOOSE}"
    assert said(a, c) == f"{c}: row 2: key {name} stands at {a}:7 too; {CHOOSE}"
    assert said(c, a) == f"{a}:7: key {name} stands at {c}: row 2 too; {CHOOSE}"
    a.write_bytes(lines + text(again))
    assert said(a) == f"{a}:102: key {name} stands on line 7 too; {CHOOSE}"
    twice = pa.concat_tables([table({key(5): b"1"}), table({key(5): b"2"})])
    kinds.write_parquet(c, twice)
    assert said(c) == f"{c}: row 2: key {key(5).decode()} stands in row 1 too; {CHOOSE}"


def test_of_many_files_the_malformed_one_is_named(tmp_path: Path, lines: bytes, key: Key) -> None:
    (tmp_path / "1").write_bytes(lines)
    (tmp_path / "2").write_bytes(key(200) + b" value\noops\n")
    assert refusal(tmp_path, tmp_path / "1", tmp_path / "2") == (f"{tmp_path}/2:2: not a UUID version 4: 'oops' {WANT}")


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder" / ".hidden").mkdir(parents=True)
    (tmp_path / "folder" / "_SUCCESS").touch()
    cases = {
        "none": "none: cannot be read: No such file or directory",
        "*.data": "*.data: no file matches this pattern",
        "folder": "folder: is a folder without data files",
        "folder/*": "folder/*: no file matches this pattern",
    }
    (tmp_path / "folder" / "_SUCCESS").unlink()
    for name, reason in cases.items():
        assert refusal(tmp_path, tmp_path / name) == f"{tmp_path}/{reason}"


def test_standard_input_that_is_closed_is_refused(tmp_path: Path) -> None:
    kept = os.dup(0)
    os.close(0)
    try:
        assert refusal(tmp_path, Path("-")) == "stdin: cannot be read: Bad file descriptor"
    finally:
        os.dup2(kept, 0)
        os.close(kept)


def test_the_errors_are_typed(tmp_path: Path, key: Key) -> None:
    for content, error in ((b"oops\n", MalformedLine), (2 * (key(1) + b" v\n"), DuplicateKey)):
        (tmp_path / "data.gz").write_bytes(gzip.compress(content))
        with pytest.raises(error):
            pack(tmp_path / "data.gz", tmp_path / "packed")
    (tmp_path / "data.gz").write_bytes(gzip.compress(b"")[:-1])
    with pytest.raises(SourceError):
        pack(tmp_path / "data.gz", tmp_path / "packed")
