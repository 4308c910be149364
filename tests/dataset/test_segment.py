"""A segment: what is in memory is read at once, what is not is told apart, and one that was written to says so."""

import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ringkv.cluster.errors import DatasetOverwritten
from ringkv.dataset.manifest import SegmentEntry
from ringkv.dataset.segment import Segment
from tests.support.memory import evict

SIZE = 1 << 20


@pytest.fixture
def segment(tmp_path: Path) -> Iterator[Segment]:
    (tmp_path / "segment").write_bytes(os.urandom(SIZE))
    descriptor = os.open(tmp_path, os.O_RDONLY)
    opened = Segment(tmp_path, descriptor, SegmentEntry("segment", SIZE, 0, 1))
    yield opened
    opened.close()
    os.close(descriptor)


def test_what_is_in_memory_is_read_at_once_and_what_is_not_is_not(segment: Segment) -> None:
    content = segment.path.read_bytes()
    assert segment.nowait
    assert segment.read_now(1000, 5000) == bytearray(content[1000:6000])
    evict(segment.path)
    assert segment.read_now(1000, 5000) is None
    assert segment.read(1000, 5000) == content[1000:6000]
    assert segment.read_now(1000, 5000) == bytearray(content[1000:6000])
    evict(segment.path)
    segment.read(0, 1)
    assert segment.read_now(0, SIZE) is None  # only a part of it is there


def test_where_that_cannot_be_told_nothing_is_read_at_once() -> None:
    """tmpfs, as Linux has it, refuses RWF_NOWAIT."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        (Path(folder) / "segment").write_bytes(b"x" * SIZE)
        descriptor = os.open(folder, os.O_RDONLY)
        segment = Segment(Path(folder), descriptor, SegmentEntry("segment", SIZE, 0, 1))
        assert (segment.nowait, segment.read_now(0, 10)) == (False, None)
        assert segment.read(5, 10) == b"x" * 10
        segment.close()
        os.close(descriptor)


def test_a_read_goes_on_where_the_kernel_stopped(segment: Segment, monkeypatch: pytest.MonkeyPatch) -> None:
    content, pread = segment.path.read_bytes(), os.pread
    monkeypatch.setattr(os, "pread", lambda fd, size, at: pread(fd, min(size, 1000), at))
    assert segment.read(500, 10_500) == content[500:11_000]
    assert segment.read(SIZE - 1500, 5000) == content[-1500:]
    assert segment.read(SIZE + 10, 5) == b""


def test_an_error_of_the_disk_is_no_page_that_is_not_there(segment: Segment, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_args: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "preadv", broken)
    assert segment.read_now(0, 10) is None  # the read that may wait says why
    assert segment.nowait


def test_a_segment_that_was_cut_off_says_so(segment: Segment) -> None:
    stamp = segment.look()
    os.truncate(segment.path, SIZE - 1)
    with pytest.raises(
        DatasetOverwritten, match="was overwritten while it was served: it has 1,048,575 bytes, not 1,04"
    ):
        segment.look()
    assert segment.read_now(SIZE - 10, 10) is None
    assert len(segment.read(SIZE - 10, 10)) == 9
    os.truncate(segment.path, SIZE)
    assert segment.look() != stamp
