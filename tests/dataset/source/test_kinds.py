"""Equal pairs are an equal dataset, wherever they come from, and what their source was stands in the file."""

import gzip
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xxhash import xxh3_128_hexdigest

from ringkv.cluster.errors import SourceError
from ringkv.dataset.manifest import Manifest, SourceEntry
from ringkv.dataset.packing import seal
from ringkv.dataset.packing.local import pack
from ringkv.dataset.packing.memory import Budget
from ringkv.dataset.source.find import find
from tests.dataset.source import kinds
from tests.dataset.source.kinds import COMPRESSIONS, KEYS, Pairs, fed_pipe, table, text

Read = Callable[[Path], Pairs]

UUIDS = st.uuids(version=4).map(lambda uuid: str(uuid).encode())
LINES = st.dictionaries(UUIDS, st.binary(max_size=20).map(lambda value: value.replace(b"\n", b"\r")), max_size=12)
ROWS = st.dictionaries(UUIDS, st.binary(max_size=20), max_size=12)
CHUNK_SIZES = st.sampled_from([1, 60, 1000, 1 << 20])

PROPERTY = settings(max_examples=8, deadline=None)


def packed(folder: Path, *data: Path, chunk_size: int = 1 << 20) -> Manifest:
    with ThreadPoolExecutor(2) as executor:
        manifest = pack(find(data), folder / "packed", executor=executor, budget=Budget(2, chunk_size))
    assert not list(folder.glob(".*")), "nothing that was spooled may stay"
    return manifest


def dataset(pairs: Pairs, folder: Path) -> str:
    """The id of the pairs from a plain text file, or where they are no lines from a table."""
    (folder / "plain").write_bytes(text(pairs))
    return packed(folder, folder / "plain").dataset_id


@pytest.mark.parametrize("name", COMPRESSIONS)
@PROPERTY
@given(LINES, CHUNK_SIZES, st.integers(0, 12))
def test_a_compressed_file_is_what_it_was_before(name: str, pairs: Pairs, chunk_size: int, cut: int) -> None:
    """Also if it was compressed in two parts, as parallel tools do; its name does not matter."""
    compress = COMPRESSIONS[name]
    first, second = dict(list(pairs.items())[:cut]), dict(list(pairs.items())[cut:])
    with TemporaryDirectory() as folder:
        path = Path(folder, "data")
        content = compress(text(first)) + (compress(text(second)) if second else b"")
        path.write_bytes(content)
        manifest = packed(Path(folder), path, chunk_size=chunk_size)
        assert manifest.dataset_id == dataset(pairs, Path(folder))
        assert [(entry.size, entry.digest) for entry in manifest.sources] == [
            (len(content), xxh3_128_hexdigest(content))
        ]


@pytest.mark.parametrize("name", [None, *COMPRESSIONS])
@PROPERTY
@given(LINES, CHUNK_SIZES)
def test_a_stream_is_what_a_file_of_its_bytes_is(name: str | None, pairs: Pairs, chunk_size: int) -> None:
    content = COMPRESSIONS[name](text(pairs)) if name else text(pairs)
    with TemporaryDirectory() as folder, fed_pipe(Path(folder, "pipe"), content) as pipe:
        manifest = packed(Path(folder), pipe, chunk_size=chunk_size)
        assert manifest.dataset_id == dataset(pairs, Path(folder))
        assert [(entry.size, entry.digest) for entry in manifest.sources] == [
            (len(content), xxh3_128_hexdigest(content))
        ]


@pytest.mark.parametrize("write", [kinds.write_arrow, kinds.write_parquet])
@pytest.mark.parametrize("keys", KEYS)
@PROPERTY
@given(ROWS, CHUNK_SIZES)
def test_a_table_is_what_its_rows_are(
    read: Read, write: Callable[[Path, pa.Table], None], keys: str, pairs: Pairs, chunk_size: int
) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, "table")
        write(path, table(pairs, keys))
        manifest = packed(Path(folder), path, chunk_size=chunk_size)
        assert read(Path(folder, "packed")) == pairs
        (entry,) = manifest.sources
        assert entry == SourceEntry(str(path), path.stat().st_size, xxh3_128_hexdigest(path.read_bytes()))
        if not any(b"\n" in value for value in pairs.values()):
            assert manifest.dataset_id == dataset(pairs, Path(folder))


@pytest.mark.parametrize(
    "values",
    [pa.string(), pa.large_string(), pa.string_view(), pa.large_binary(), pa.binary_view(), pa.binary(4)],
    ids=str,
)
def test_values_of_a_table_may_be_held_in_any_way(
    tmp_path: Path, read: Read, key: Callable[[int], bytes], values: pa.DataType
) -> None:
    pairs = {key(number): b"%04d" % number for number in range(100)}
    kinds.write_arrow(tmp_path / "table", table({}, values=values))
    content = table(pairs)
    column = (
        content["value"].cast(pa.string()).cast(values) if values != pa.binary(4) else content["value"].cast(values)
    )
    kinds.write_arrow(tmp_path / "table", content.set_column(0, "value", column))
    packed(tmp_path, tmp_path / "table")
    assert read(tmp_path / "packed") == pairs


@PROPERTY
@given(LINES, st.lists(st.integers(0, 4), min_size=12, max_size=12), CHUNK_SIZES)
def test_many_files_are_what_one_is(pairs: Pairs, kind_of_each: list[int], chunk_size: int) -> None:
    """Of all kinds mixed, asked for one by one, by a pattern, and as a folder."""
    parts: list[Pairs] = [{} for _ in range(5)]
    for (key, value), kind in zip(pairs.items(), kind_of_each, strict=False):
        parts[kind][key] = value
    with TemporaryDirectory() as folder:
        data = Path(folder, "data")
        (data / "below" / "_hidden").mkdir(parents=True)
        (data / "0.data").write_bytes(text(parts[0]))
        (data / "1.gz").write_bytes(gzip.compress(text(parts[1])))
        kinds.write_parquet(data / "2.parquet", table(parts[2]))
        kinds.write_arrow(data / "3.arrow", table(parts[3], "string"))
        (data / "below" / "4.data").write_bytes(text(parts[4]).removesuffix(b"\n"))
        for name in ("_SUCCESS", ".data.crc", "below/_hidden/x", "below/.y"):
            (data / name).write_bytes(b"nonsense")
        files = [data / name for name in ("0.data", "1.gz", "2.parquet", "3.arrow", "below/4.data")]
        ids = {
            packed(Path(folder), *files, chunk_size=chunk_size).dataset_id,
            packed(Path(folder), data, chunk_size=chunk_size).dataset_id,
            packed(Path(folder), data / "[0-9].*", data / "below" / "4*", chunk_size=chunk_size).dataset_id,
            packed(Path(folder), data / "**" / "[0-9].*", chunk_size=chunk_size).dataset_id,
        }
        assert ids == {dataset(pairs, Path(folder))}


def test_the_manifest_names_each_source_in_order(tmp_path: Path, key: Callable[[int], bytes]) -> None:
    files = [tmp_path / f"{number}.data" for number in range(2)]
    for number, path in enumerate(files):
        path.write_bytes(key(number) + b" value\n")
    first, second = packed(tmp_path, *files), packed(tmp_path, *reversed(files))
    assert first.dataset_id == second.dataset_id
    named = [SourceEntry(str(path), path.stat().st_size, xxh3_128_hexdigest(path.read_bytes())) for path in files]
    assert (list(first.sources), list(second.sources)) == (named, named[::-1])


def test_more_sources_than_a_manifest_has_room_for_are_one_entry(
    tmp_path: Path, key: Callable[[int], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seal, "MAX_SOURCES", 2)
    for number in range(3):
        (tmp_path / f"{number}.data").write_bytes(key(number) + b" value\n")
    files = sorted(tmp_path.glob("?.data"))
    digests = "".join(xxh3_128_hexdigest(path.read_bytes()) for path in files)
    assert packed(tmp_path, *files).sources == (
        SourceEntry("3 sources", sum(path.stat().st_size for path in files), xxh3_128_hexdigest(digests.encode())),
    )


def test_many_small_files_make_few_runs(tmp_path: Path, key: Callable[[int], bytes]) -> None:
    for number in range(300):
        (tmp_path / f"{number}.data").write_bytes(key(number) + b" value\n")
    steps: list[tuple[int, int]] = []
    manifest = pack(find([tmp_path]), tmp_path / "packed", progress=lambda *step: steps.append(step))
    assert manifest.keys == 300
    assert len(steps) == 2


def test_a_dataset_is_a_source_like_any_other(tmp_path: Path, read: Read, key: Callable[[int], bytes]) -> None:
    pairs = {key(number): b"a\nb" for number in range(1000)}
    kinds.write_arrow(tmp_path / "table", table(pairs))
    first = pack(tmp_path / "table", tmp_path / "first", segment_size=10_000)
    assert len(first.segments) > 2
    assert packed(tmp_path, tmp_path / "first").dataset_id == first.dataset_id
    assert read(tmp_path / "packed") == pairs
    more = packed(tmp_path, *(tmp_path / "first" / entry.name for entry in first.segments[:2]))
    assert 0 < more.keys < 1000


@pytest.mark.parametrize("write", [None, kinds.write_arrow, kinds.write_parquet], ids=["text", "Arrow", "Parquet"])
def test_names_of_files_and_folders_are_bytes_and_need_not_be_utf_8(
    tmp_path: Path, write: Callable[[Path, pa.Table], None] | None, key: Callable[[int], bytes]
) -> None:
    pairs = {key(number): b"%d" % number for number in range(100)}
    folder = tmp_path / os.fsdecode(b"f\xffolder")
    folder.mkdir()
    # Arrow itself, by which it is written here, takes no such name from Python.
    data = folder / "data"
    if write is None:
        data.write_bytes(text(pairs))
    else:
        write(tmp_path / "written", table(pairs))
        (tmp_path / "written").rename(data)
    odd = data.rename(folder / os.fsdecode(b"da\xfeta"))
    assert packed(folder, odd).dataset_id == dataset(pairs, tmp_path)


def test_what_links_lead_to_belongs_to_a_folder_and_what_leads_back_is_refused(
    tmp_path: Path, key: Callable[[int], bytes]
) -> None:
    folder, elsewhere = tmp_path / "folder", tmp_path / "elsewhere"
    for number, path in enumerate([folder, elsewhere / "deep"]):
        path.mkdir(parents=True)
        (path / "data").write_bytes(key(number) + b" value\n")
    (folder / "linked").symlink_to("../elsewhere")
    assert [source.name for source in find([folder])] == [f"{folder}/data", f"{folder}/linked/deep/data"]
    assert pack(folder, tmp_path / "packed").keys == 2
    for target in (folder, tmp_path, elsewhere):
        back = elsewhere / "deep" / "back"
        back.symlink_to(target)
        with pytest.raises(SourceError) as raised:
            find([folder])
        assert str(raised.value) == f"{folder}/linked/deep/back: leads back to a folder that it is in; remove the link"
        back.unlink()
