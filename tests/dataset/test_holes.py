"""Holes in files: what was written is told from what was not."""

import mmap
import os
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ringkv.dataset.holes import has_hole, without_hole

PAGES = 40
spans = st.lists(st.tuples(st.integers(0, PAGES * mmap.PAGESIZE - 1), st.integers(1, 6 * mmap.PAGESIZE)))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sets(st.integers(0, PAGES - 1)), spans)
def test_what_is_told_of_many_spans_at_once_is_told_of_each(
    tmp_path: Path, pages: set[int], asked: list[tuple[int, int]]
) -> None:
    descriptor = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    try:
        os.ftruncate(descriptor, PAGES * mmap.PAGESIZE)
        for page in pages:
            os.pwrite(descriptor, b"x", page * mmap.PAGESIZE)
        places = [(at, min(size, PAGES * mmap.PAGESIZE - at)) for at, size in asked]
        starts = np.array([at for at, _ in places], np.int64)
        found = without_hole(descriptor, starts, starts + np.array([size for _, size in places], np.int64))
        assert found.tolist() == [not has_hole(descriptor, at, size) for at, size in places]
        told = [all(page in pages for page in range(at >> 12, (at + size + 4095) >> 12)) for at, size in places]
        assert found.tolist() == told or mmap.PAGESIZE != 4096
    finally:
        os.close(descriptor)
