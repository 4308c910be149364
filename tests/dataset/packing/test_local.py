"""What packing promises, with chunks so small that they cut a file at every place."""

import os
import random
import signal
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringkv.cluster.errors import DuplicateKey, MalformedLine, PackingFailed
from ringkv.dataset.generate import lines
from ringkv.dataset.manifest import Manifest
from ringkv.dataset.packing import blocks, local, segment
from ringkv.dataset.packing.inflight import worker_pool
from ringkv.dataset.packing.local import pack
from ringkv.dataset.packing.memory import Budget
from ringkv.dataset.packing.merge import DuplicatePolicy

Read = Callable[[Path], dict[bytes, bytes]]
Key = Callable[[int], bytes]

VALUES = st.binary(max_size=20).map(lambda value: value.replace(b"\n", b"\r"))
PAIRS = st.dictionaries(st.uuids(version=4).map(lambda uuid: str(uuid).encode()), VALUES, max_size=12)


def text(pairs: dict[bytes, bytes]) -> bytes:
    return b"".join(b"%b %b\n" % pair for pair in pairs.items())


def pack_bytes(content: bytes, folder: Path, chunk: int = 1 << 20, **options: object) -> Manifest:
    (folder / "data").write_bytes(content)
    return pack(folder / "data", folder / "packed", budget=Budget(2, chunk), **options)  # type: ignore[arg-type]


@given(PAIRS, st.integers(1, 200), st.sampled_from([b"", b"\n"]), st.sampled_from([bytes.lower, bytes.upper]))
@settings(max_examples=60, deadline=None)
def test_what_was_packed_is_what_is_found(
    read: Read, pairs: dict[bytes, bytes], chunk_size: int, end: bytes, case: Callable[[bytes], bytes]
) -> None:
    content = b"".join(b"%b %b\n" % (case(key), value) for key, value in pairs.items())
    with TemporaryDirectory() as name, ThreadPoolExecutor(2) as executor:
        manifest = pack_bytes(
            content.removesuffix(b"\n") + end if content else content,
            Path(name),
            chunk=chunk_size,
            executor=executor,
        )
        assert read(Path(name, "packed")) == pairs
        assert manifest.keys == len(pairs)
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
        after = pack_bytes(text(dict(shuffled)).removesuffix(b"\n"), Path(name), chunk=100, executor=Here())
    assert before.dataset_id == after.dataset_id


def test_another_value_is_another_dataset(tmp_path: Path, key: Key) -> None:
    ids = {pack_bytes(key(1) + b" " + value, tmp_path).dataset_id for value in (b"", b"a", b"b", b"ab")}
    assert len(ids) == 4


def content_of(folder: Path) -> dict[str, bytes]:
    """All files of a dataset but for its manifest, which tells the time."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "manifest.json"}


def test_processes_make_the_same_files_as_one_alone(tmp_path: Path) -> None:
    content = b"".join(lines(30_000, 5))
    alone = pack_bytes(content, tmp_path)
    expected = content_of(tmp_path / "packed")
    with worker_pool(2) as executor:
        for chunk_size in (100_000, 1_000_000):
            assert pack_bytes(content, tmp_path, executor=executor, chunk=chunk_size).dataset_id == alone.dataset_id
            assert content_of(tmp_path / "packed") == expected
    assert pack_bytes(content, tmp_path, chunk=1_500_000).dataset_id == alone.dataset_id


@pytest.mark.timeout(60)
def test_an_interruption_within_the_hand_over_of_a_task_ends_the_packing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pools: list[ProcessPoolExecutor] = []

    def interrupted(workers: int) -> Executor:
        """A pool in which Ctrl-C comes when the third task is pending, and not yet queued."""
        pool = worker_pool(workers)
        assert isinstance(pool, ProcessPoolExecutor)
        pools.append(pool)
        queue, calls = pool._work_ids, iter(range(3))  # noqa: SLF001 - a moment that no signal can be made to meet
        put = queue.put

        def put_or_stop(item: int) -> None:
            if next(calls) == 2:
                raise KeyboardInterrupt
            put(item)

        monkeypatch.setattr(queue, "put", put_or_stop)
        return pool

    monkeypatch.setattr(local, "worker_pool", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pack_bytes(b"".join(lines(10_000, 5)), tmp_path, chunk=100_000)
    assert pools
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_worker_that_dies_ends_the_packing_in_one_line(tmp_path: Path) -> None:
    with worker_pool(2) as pool:
        assert isinstance(pool, ProcessPoolExecutor)

        def progress(_done: int, _total: int) -> None:
            for worker in pool._processes:  # noqa: SLF001 - as the kernel kills them when memory is out
                with suppress(ProcessLookupError):
                    os.kill(worker, signal.SIGKILL)

        with pytest.raises(PackingFailed, match=r"/packed: not enough memory to pack with 2 workers$"):
            pack_bytes(b"".join(lines(10_000, 5)), tmp_path, 50_000, executor=pool, progress=progress)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_an_empty_file_is_an_empty_dataset(tmp_path: Path, read: Read) -> None:
    manifest = pack_bytes(b"", tmp_path)
    assert (manifest.keys, manifest.partitions, manifest.blocks) == (0, 256, 256)
    assert [source.size for source in manifest.sources] == [0]
    assert read(tmp_path / "packed") == {}


def test_a_dataset_is_no_larger_than_the_text(tmp_path: Path) -> None:
    content = b"".join(lines(100_000, 1))
    pack_bytes(content, tmp_path)
    assert sum(path.stat().st_size for path in (tmp_path / "packed").iterdir()) <= len(content)


@pytest.mark.parametrize("chunk_size", [1, 50, 1000, 1 << 20])
@pytest.mark.parametrize("bad", [1, 2, 57, 100])
def test_the_first_malformed_line_is_named(tmp_path: Path, key: Key, bad: int, chunk_size: int) -> None:
    written = [key(number) + b" value" for number in range(1, 101)]
    written[bad - 1] = b"nonsense"
    written[-1] = b""
    with ThreadPoolExecutor(4) as executor, pytest.raises(MalformedLine) as raised:
        pack_bytes(b"\n".join(written) + b"\n", tmp_path, chunk=chunk_size, executor=executor)
    assert str(raised.value).startswith(f"{tmp_path / 'data'}:{bad}: ")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_file_without_newlines_is_refused_in_bounded_memory(tmp_path: Path) -> None:
    with (tmp_path / "data").open("wb") as file:
        file.truncate(200 << 20)
    with pytest.raises(MalformedLine, match="data:1: not a UUID"):
        pack(tmp_path / "data", tmp_path / "packed", executor=Here())


@pytest.mark.parametrize("chunk_size", [1, 120, 1 << 20])
def test_a_duplicate_key_is_refused_with_both_lines(tmp_path: Path, key: Key, chunk_size: int) -> None:
    written = [key(number) + b" value" for number in range(1, 11)]
    written[7] = key(0xABC).upper() + b" again"
    written[2] = key(0xABC) + b" once"
    with pytest.raises(DuplicateKey) as raised:
        pack_bytes(b"\n".join(written), tmp_path, chunk=chunk_size, executor=Here())
    assert f"{tmp_path / 'data'}:8: key {key(0xABC).decode()} stands on line 3 too" in str(raised.value)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize("chunk_size", [1, 120, 1 << 20])
@pytest.mark.parametrize(("policy", "kept"), [("first", b"1"), ("last", b"3")])
def test_the_first_or_the_last_of_duplicates_can_be_chosen(
    tmp_path: Path, read: Read, key: Key, *, policy: DuplicatePolicy, kept: bytes, chunk_size: int
) -> None:
    written = [key(7) + b" " + value for value in (b"1", b"2", b"3")]
    written[1:1] = [key(number) + b" other" for number in range(10, 20)]
    manifest = pack_bytes(b"\n".join(written), tmp_path, chunk_size, on_duplicate=policy, executor=Here())
    pairs = read(tmp_path / "packed")
    assert pairs[key(7)] == kept
    assert len(pairs) == 11
    assert manifest.dataset_id == pack_bytes(text(pairs), tmp_path).dataset_id


def test_dropped_duplicates_do_not_count_for_the_number_of_blocks(tmp_path: Path, key: Key) -> None:
    content = b"".join(b"%b %d\n" % (key(number % 50_000), number) for number in range(150_000))
    manifest = pack_bytes(content, tmp_path, on_duplicate="last")
    clean = b"".join(b"%b %d\n" % (key(number % 50_000), number) for number in range(100_000, 150_000))
    assert pack_bytes(clean, tmp_path).dataset_id == manifest.dataset_id


def test_a_block_larger_than_a_batch_is_refused(tmp_path: Path, key: Key, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "MAX_BLOCK_BYTES", 10)
    with pytest.raises(PackingFailed, match="would hold 11 bytes of values, of 10 at most"):
        pack_bytes(key(1) + b" 12345678901", tmp_path)


def test_a_partition_larger_than_a_segment_is_refused(
    tmp_path: Path, key: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segment, "MAX_SEGMENT_BYTES", 10_000)
    with pytest.raises(PackingFailed, match="partition 0 would take more than 10000 bytes; split the data"):
        pack_bytes(key(1) + b" value", tmp_path)


def test_progress_begins_small_never_falls_and_ends_complete(tmp_path: Path) -> None:
    heard: list[tuple[int, int]] = []
    content = b"".join(lines(2000, 1))
    pack_bytes(content, tmp_path, chunk=10_000, executor=Here(), progress=lambda *step: heard.append(step))
    done = [step[0] for step in heard]
    assert done == sorted(done)
    assert heard[-1] == (2 * len(content), 2 * len(content))


class Here(ThreadPoolExecutor):
    """An executor of one thread, for tests in which a pool of processes would only take time."""

    def __init__(self) -> None:
        super().__init__(1)
