"""The entries of all blocks of a dataset in one table, and with them which blocks were read and found right."""

from mmap import MAP_ANONYMOUS, MAP_PRIVATE, mmap

import numpy as np
from numpy.typing import NDArray

from ringkv.dataset.block import Row
from ringkv.shard.entries import ENTRY, FIELDS


class Table:
    """`entries` has an ENTRY for each block, or for each slot where several are one block; zeros where none is checked.

    `forgotten[p]` is how often it was forgotten what of partition p is checked. `bytes` are those of checked blocks.
    """

    def __init__(self, partitions: int, width: int, slots: int) -> None:
        """Of partitions of `width` blocks of `slots` slots each: one of the two is 1."""
        self._width = width
        self._stride = ENTRY.size * slots
        self._size = self._stride * width  # bytes of a partition's entries
        # Takes no memory until it is written to: of the entries of other shards' partitions.
        self.entries = mmap(-1, self._size * partitions, flags=MAP_PRIVATE | MAP_ANONYMOUS)
        self._rows = np.frombuffer(self.entries, FIELDS).reshape(-1, slots)
        self.forgotten = np.zeros(partitions, np.int64)
        self.bytes = 0
        self._bytes_of = np.zeros(partitions, np.int64)
        self._one_of = self._bytes_of.data  # NumPy takes four times as long for a single number

    def has(self, block: int) -> bool:
        """Whether the block is checked: it was read and is right, and its segment has not been in doubt since."""
        # Where each slot has an entry, the first entry of a block shows it.
        return bool(ENTRY.unpack_from(self.entries, block * self._stride)[0])

    def has_all(self, blocks: NDArray[np.uint32]) -> NDArray[np.bool_]:
        """Which of these blocks are checked."""
        found: NDArray[np.bool_] = self._rows["keys"][blocks, 0] != 0
        return found

    def put(self, block: int, row: Row, entries: bytes) -> None:
        """Note that a block is checked."""
        at = block * self._stride
        self.entries[at : at + len(entries)] = entries
        self.bytes += row.size
        self._one_of[block // self._width] += row.size

    def put_all(self, blocks: NDArray[np.void], entries: NDArray[np.void]) -> None:
        """Note that these blocks, as PLACED has them, are checked; of each either one entry is given or all of them."""
        self._rows[blocks["block"]] = entries
        self.bytes += int(blocks["bytes"].sum())
        np.add.at(self._bytes_of, blocks["block"] // self._width, blocks["bytes"])

    def forget(self, partition: int) -> None:
        """Forget which blocks of a partition are checked."""
        self.bytes -= int(self._bytes_of[partition])
        self._bytes_of[partition] = 0
        self.entries[partition * self._size : (partition + 1) * self._size] = bytes(self._size)
        self.forgotten[partition] += 1

    def remembers(self, blocks: NDArray[np.uint32], forgotten: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Of which of these blocks nothing was forgotten since `forgotten` was as given."""
        partitions = blocks // self._width
        found: NDArray[np.bool_] = self.forgotten[partitions] == forgotten[partitions]
        return found
