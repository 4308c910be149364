"""What packing promises, with chunks so small that they cut a file at every place."""

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.errors import DuplicateKey, MalformedLine, PackingFailed
from dataset import merge
from dataset.generate import lines
from dataset.inflight import worker_pool
from dataset.merge import DuplicatePolicy
from dataset.pack import pack
from dataset.packed import Header

Read = Callable[[Path], dict[bytes, bytes]]
Key = Callable[[int], bytes]

VALUES = st.binary(max_size=20).map(lambda value: value.replace(b"\n", b"\r"))
PAIRS = st.dictionaries(st.uuids(version=4).map(lambda uuid: str(uuid).encode()), VALUES, max_size=12)


def text(pairs: dict[bytes, bytes]) -> bytes:
    return b"".join(b"%b %b\n" % pair for pair in pairs.items())


def pack_bytes(content: bytes, folder: Path, **options: object) -> Header:
    (folder / "data").write_bytes(content)
    return pack(folder / "data", folder / "packed", **options)  # type: ignore[arg-type]


@given(PAIRS, st.integers(1, 200), st.sampled_from([b"", b"\n"]), st.sampled_from([bytes.lower, bytes.upper]))
@settings(max_examples=60, deadline=None)
def test_what_was_packed_is_what_is_found(
    read: Read, pairs: dict[bytes, bytes], chunk_size: int, end: bytes, case: Callable[[bytes], bytes]
) -> None:
    content = b"".join(b"%b %b\n" % (case(key), value) for key, value in pairs.items())
    with TemporaryDirectory() as name, ThreadPoolExecutor(2) as executor:
        header = pack_bytes(
            content.removesuffix(b"\n") + end if content else content,
            Path(name),
            chunk_size=chunk_size,
            executor=executor,
        )
        assert read(Path(name, "packed")) == pairs
        assert header.keys == len(pairs)
        assert sorted(path.name for path in Path(name).iterdir()) == ["data", "packed"]


@given(PAIRS, st.randoms(use_true_random=False))
@settings(max_examples=20, deadline=None)
def test_the_order_of_the_lines_does_not_change_the_dataset_id(
    pairs: dict[bytes, bytes], shuffler: random.Random
) -> None:
    shuffled = list(pairs.items())
    shuffler.shuffle(shuffled)
    with TemporaryDirectory() as name:
        before = pack_bytes(text(pairs), Path(name))
        after = pack_bytes(text(dict(shuffled)).removesuffix(b"\n"), Path(name), chunk_size=100)
    assert before.dataset_id == after.dataset_id


def test_another_value_is_another_dataset(tmp_path: Path, key: Key) -> None:
    ids = {pack_bytes(key(1) + b" " + value, tmp_path).dataset_id for value in (b"", b"a", b"b", b"ab")}
    assert len(ids) == 4


def test_processes_make_the_same_file_as_one_alone(tmp_path: Path) -> None:
    content = b"".join(lines(30_000, 5))
    alone = pack_bytes(content, tmp_path)
    expected = (tmp_path / "packed").read_bytes()
    with worker_pool(2) as executor:
        for chunk_size in (100_000, 1_000_000):
            assert pack_bytes(content, tmp_path, executor=executor, chunk_size=chunk_size) == alone
            assert (tmp_path / "packed").read_bytes() == expected
    assert pack_bytes(content, tmp_path, chunk_size=1_500_000) == alone


def test_an_empty_file_is_an_empty_dataset(tmp_path: Path, read: Read) -> None:
    header = pack_bytes(b"", tmp_path)
    assert (header.keys, header.partitions, header.source_size) == (0, 256, 0)
    assert read(tmp_path / "packed") == {}


def test_the_packed_file_is_no_larger_than_the_text(tmp_path: Path) -> None:
    content = b"".join(lines(100_000, 1))
    pack_bytes(content, tmp_path)
    assert (tmp_path / "packed").stat().st_size <= len(content)


@pytest.mark.parametrize("chunk_size", [1, 50, 1000, 1 << 20])
@pytest.mark.parametrize("bad", [1, 2, 57, 100])
def test_the_first_malformed_line_is_named(tmp_path: Path, key: Key, bad: int, chunk_size: int) -> None:
    written = [key(number) + b" value" for number in range(1, 101)]
    written[bad - 1] = b"nonsense"
    written[-1] = b""
    with ThreadPoolExecutor(4) as executor, pytest.raises(MalformedLine) as raised:
        pack_bytes(b"\n".join(written) + b"\n", tmp_path, chunk_size=chunk_size, executor=executor)
    assert str(raised.value).startswith(f"{tmp_path / 'data'}:{bad}: ")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_file_without_newlines_is_refused_in_bounded_memory(tmp_path: Path) -> None:
    with (tmp_path / "data").open("wb") as file:
        file.truncate(200 << 20)
    with pytest.raises(MalformedLine, match="data:1: not a UUID"):
        pack(tmp_path / "data", tmp_path / "packed", executor=_Here())


@pytest.mark.parametrize("chunk_size", [1, 120, 1 << 20])
def test_a_duplicate_key_is_refused_with_both_lines(tmp_path: Path, key: Key, chunk_size: int) -> None:
    written = [key(number) + b" value" for number in range(1, 11)]
    written[7] = key(0xABC).upper() + b" again"
    written[2] = key(0xABC) + b" once"
    with pytest.raises(DuplicateKey) as raised:
        pack_bytes(b"\n".join(written), tmp_path, chunk_size=chunk_size, executor=_Here())
    assert f"{tmp_path / 'data'}:8: key {key(0xABC).decode()} stands on line 3 too" in str(raised.value)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize("chunk_size", [1, 120, 1 << 20])
@pytest.mark.parametrize(("policy", "kept"), [("first", b"1"), ("last", b"3")])
def test_the_first_or_the_last_of_duplicates_can_be_chosen(
    tmp_path: Path, read: Read, key: Key, *, policy: DuplicatePolicy, kept: bytes, chunk_size: int
) -> None:
    written = [key(7) + b" " + value for value in (b"1", b"2", b"3")]
    written[1:1] = [key(number) + b" other" for number in range(10, 20)]
    options = {"on_duplicate": policy, "chunk_size": chunk_size, "executor": _Here()}
    header = pack_bytes(b"\n".join(written), tmp_path, **options)
    pairs = read(tmp_path / "packed")
    assert pairs[key(7)] == kept
    assert len(pairs) == 11
    assert header.dataset_id == pack_bytes(text(pairs), tmp_path).dataset_id


def test_dropped_duplicates_do_not_count_for_the_number_of_partitions(tmp_path: Path, key: Key) -> None:
    content = b"".join(b"%b %d\n" % (key(number % 50_000), number) for number in range(150_000))
    header = pack_bytes(content, tmp_path, on_duplicate="last")
    clean = b"".join(b"%b %d\n" % (key(number % 50_000), number) for number in range(100_000, 150_000))
    assert pack_bytes(clean, tmp_path).dataset_id == header.dataset_id


def test_a_partition_larger_than_a_batch_is_refused(tmp_path: Path, key: Key, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merge, "MAX_PARTITION_BYTES", 10)
    with pytest.raises(PackingFailed, match="would hold 11 bytes of values, of 10 at most"):
        pack_bytes(key(1) + b" 12345678901", tmp_path)


def test_progress_begins_small_never_falls_and_ends_complete(tmp_path: Path) -> None:
    heard: list[tuple[int, int]] = []
    content = b"".join(lines(2000, 1))
    pack_bytes(content, tmp_path, chunk_size=10_000, executor=_Here(), progress=lambda *step: heard.append(step))
    done = [step[0] for step in heard]
    assert done == sorted(done)
    assert heard[-1] == (2 * len(content), 2 * len(content))


class _Here(ThreadPoolExecutor):
    """An executor of one thread, for tests in which a pool of processes would only take time."""

    def __init__(self) -> None:
        super().__init__(1)
