"""The data that everything is measured with: the text file, its packed form, and a sample of its keys."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa

from bench.processes import run

KEY_BYTES: Final = 36

SAMPLE: Final = 100_000
"""Keys that a load asks for: far more than any processor caches, and a file that wrk reads in a moment."""


@dataclass(frozen=True, slots=True)
class Data:
    """`text` holds `pairs` pairs; `packed` is made of it, and `keys` has a random sample of its keys, one a line."""

    pairs: int
    text: Path
    packed: Path
    keys: Path

    def lines(self) -> Iterator[tuple[bytes, bytes]]:
        """Key and value of each line."""
        with self.text.open("rb") as file:
            for line in file:
                yield line[:KEY_BYTES], line[KEY_BYTES + 1 :].removesuffix(b"\n")

    def first(self, count: int) -> list[tuple[bytes, bytes]]:
        """The first pairs of the file."""
        return [pair for pair, _ in zip(self.lines(), range(count), strict=False)]

    def value_bytes(self) -> int:
        """What all values have together: each line has its key, a space and a newline beside it."""
        return self.text.stat().st_size - self.pairs * (KEY_BYTES + 2)


def prepare(folder: Path, pairs: int) -> Data:
    """Generate and pack, unless that was done before."""
    folder.mkdir(parents=True, exist_ok=True)
    data = Data(pairs, folder / f"{pairs}.data", folder / f"{pairs}.arrow", folder / f"{pairs}.keys")
    if not data.text.exists():
        building = data.text.with_suffix(".new")
        run(sys.executable, "-m", "dataset.generate", "--pairs", str(pairs), "--output", building)
        building.rename(data.text)
    if not data.packed.exists():
        run(sys.executable, "-m", "ringkv", "pack", data.text, data.packed)
    if not data.keys.exists():
        data.keys.write_bytes(b"\n".join(sample_keys(data.packed, SAMPLE)) + b"\n")
    return data


def sample_keys(packed: Path, count: int, seed: int = 1) -> list[bytes]:
    """Up to `count` different keys of a packed file, drawn evenly, in random order."""
    with pa.memory_map(str(packed)) as file:
        column = pa.ipc.open_file(file).read_all().column("key").combine_chunks()
        rows = np.frombuffer(column.storage.buffers()[1], np.uint8).reshape(-1, 16)
        chosen = np.random.default_rng(seed).permutation(len(rows))[:count]
        return [_text(row.tobytes().hex()) for row in rows[chosen]]


def _text(digits: str) -> bytes:
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}".encode()
