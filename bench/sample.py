"""Pairs of a packed dataset, read with pyarrow alone: what a server's replies are compared with."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Pair = tuple[bytes, bytes]
"""The canonical text of a key, and its value."""

SAMPLE_BYTES: Final = 256 << 20
"""Values that are held at once, about: a sample of a dataset of large values has fewer pairs."""

THETA: Final = 0.99
"""The skew of YCSB's workloads."""

HEAD: Final = 1000
"""Terms of the zeta sum that are added one by one; the rest is an integral, right to six digits."""

SCATTER: Final = 2_654_435_761
"""A prime: multiplied with it, neighbouring ranks come to lie far from each other."""


class Sampler:
    """Draws pairs from the dataset in the folder `path`; the same ones for the same seed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        manifest = json.loads((path / "manifest.json").read_bytes())
        self.keys: int = manifest["keys"]
        self.bytes: int = manifest["bytes"]
        self.block_bytes: float = self.bytes / manifest["blocks"]
        width = manifest["blocks"] // manifest["partitions"]
        self.segments: list[tuple[Path, int, int]] = [
            (path / entry["name"], entry["first"] * width, entry["last"] * width) for entry in manifest["segments"]
        ]
        with pa.memory_map(str(path / "blocks.arrow")) as file:
            table = pa.ipc.open_file(file).read_all()
            self._sizes: NDArray[np.int64] = table.column("keys").to_numpy().astype(np.int64)
        self._ends: NDArray[np.int64] = np.cumsum(self._sizes)

    def any(self, count: int, seed: int = 1) -> list[Pair]:
        """Up to `count` different pairs, drawn evenly, in random order."""
        rng = np.random.default_rng(seed)
        count = min(self._most(count), self.keys)
        rows = (
            rng.permutation(self.keys) if self.keys <= 4 * count else np.unique(rng.integers(0, self.keys, 2 * count))
        )
        return self.at(rng.permutation(rows)[:count])

    def one_a_block(self, count: int, seed: int = 1) -> list[Pair]:
        """Up to `count` pairs from as many blocks: none of them brings another one into memory."""
        rng = np.random.default_rng(seed)
        blocks = rng.permutation(np.flatnonzero(self._sizes))[: self._most(count)]
        sizes = self._sizes[blocks]
        return self.at(self._ends[blocks] - sizes + (rng.random(len(blocks)) * sizes).astype(np.int64))

    def skewed(self, count: int, seed: int = 1) -> list[Pair]:
        """`count` draws from all pairs, by Zipf's law: the pair of rank r comes up in proportion to r ** -THETA.

        Source: Gray et al., "Quickly generating billion-record synthetic databases", SIGMOD 1994, as YCSB has it.
        """
        drawn = np.random.default_rng(seed).random(self._most(count))
        keys = self.keys
        zeta = _zeta(keys)
        eta = (1 - (2 / keys) ** (1 - THETA)) / (1 - _zeta(2) / zeta)
        ranks = (keys * (eta * drawn - eta + 1) ** (1 / (1 - THETA))).astype(np.int64)
        ranks[drawn * zeta < 1 + 0.5**THETA] = 1
        ranks[drawn * zeta < 1] = 0
        return self.at(np.minimum(ranks, keys - 1) * SCATTER % keys)

    def at(self, rows: NDArray[np.int64]) -> list[Pair]:
        """The pairs of these numbers, as the dataset counts them from 0 on."""
        blocks = np.searchsorted(self._ends, rows, side="right")
        ranks = rows - (self._ends[blocks] - self._sizes[blocks])
        found: dict[int, Pair] = {}
        order = np.lexsort((ranks, blocks))
        batches = self._batches(np.unique(blocks))
        number, batch = -1, None
        for index in order:
            while number != blocks[index]:
                number, batch = next(batches)
            assert batch is not None
            rank, row = int(ranks[index]), int(rows[index])
            if row not in found:
                key = UUID(bytes=batch.column("key").storage[rank].as_py())
                found[row] = str(key).encode(), batch.column("value")[rank].as_py()
        return [found[int(row)] for row in rows]

    def all(self) -> Iterator[tuple[list[bytes], list[bytes]]]:
        """All pairs, a block at once: keys of 16 bytes, and their values."""
        for _, batch in self._batches(np.flatnonzero(self._sizes)):
            yield batch.column("key").storage.to_pylist(), batch.column("value").to_pylist()

    def _batches(self, blocks: NDArray[np.int64]) -> Iterator[tuple[int, Any]]:
        """These blocks, which ascend, with their numbers."""
        for path, first, last in self.segments:
            inside = blocks[(blocks >= first) & (blocks < last)]
            if len(inside):
                with pa.memory_map(str(path)) as file:
                    reader = pa.ipc.open_file(file)
                    for block in inside:
                        yield int(block), reader.get_batch(int(block) - first)

    def _most(self, count: int) -> int:
        return max(1, min(count, int(SAMPLE_BYTES * self.keys / max(1, self.bytes))))


def _zeta(count: int) -> float:
    head = float((np.arange(1, min(count, HEAD) + 1) ** -THETA).sum())
    if count <= HEAD:
        return head
    return head + float((count + 0.5) ** (1 - THETA) - (HEAD + 0.5) ** (1 - THETA)) / (1 - THETA)
