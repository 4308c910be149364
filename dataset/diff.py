"""What differs between two datasets: both are sorted by position, so it is one pass, and equal blocks are not read."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final

import numpy as np

from ringkv.dataset.block import keys_of, span_of, texts_of
from ringkv.dataset.content import Block, Content
from ringkv.dataset.format import KEY_BYTES

LIMIT: Final = 10


@dataclass
class Keys:
    """How many keys there are of a kind, and the first `limit` of them, as texts."""

    limit: int
    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, key: bytes) -> None:
        self.count += 1
        if len(self.first) < self.limit:
            self.first.extend(text.decode() for text in texts_of(key))


@dataclass
class Difference:
    """The keys that only the new dataset has, that only the old one has, and whose values differ."""

    added: Keys
    removed: Keys
    changed: Keys


def difference(old: Content, new: Content, limit: int = LIMIT) -> Difference:
    """Compare two datasets, in memory for a few blocks at a time. Raises CorruptBlock, StoreError."""
    found = Difference(Keys(limit), Keys(limit), Keys(limit))
    is_older_coarse = old.manifest.blocks <= new.manifest.blocks
    coarse, fine = (old, new) if is_older_coarse else (new, old)
    only_coarse, only_fine = (found.removed, found.added) if is_older_coarse else (found.added, found.removed)
    for one, others in _arcs(coarse, fine):
        pairs = _pairs(one) if one else {}
        for block in others:
            for key, value in _pairs(block).items():
                before = pairs.pop(key, None)
                if before is None:
                    only_fine.add(key)
                elif before != value:
                    found.changed.add(key)
        for key in pairs:
            only_coarse.add(key)
    return found


def _arcs(coarse: Content, fine: Content) -> Iterator[tuple[Block | None, Iterator[Block]]]:
    """Each block of the coarser dataset with those of the finer one that have its part of the ring.

    Those that are equal, and those without keys, are left out. What is yielded is used up before the next.
    """
    ratio = fine.manifest.blocks // coarse.manifest.blocks
    if coarse.manifest.dataset_id == fine.manifest.dataset_id:
        return
    if ratio == 1:
        ones, others = coarse.blocks(_unequal(coarse, fine)), fine.blocks(_unequal(coarse, fine))
    else:
        ones, others = coarse.blocks(range(coarse.manifest.blocks)), fine.blocks(range(fine.manifest.blocks))
    one = next(ones, None)
    for arc, group in groupby(others, lambda block: block.number // ratio):
        while one and one.number < arc:
            yield one, iter(())
            one = next(ones, None)
        if one and one.number == arc:
            yield one, group
            one = next(ones, None)
        else:
            yield None, group
    while one:
        yield one, iter(())
        one = next(ones, None)


def _unequal(one: Content, other: Content) -> Iterator[int]:
    """The numbers of the blocks that two datasets of equally many have of different content."""
    width = one.manifest.blocks_per_partition
    pairs = zip(one.dataset.partitions.digests, other.dataset.partitions.digests, strict=True)
    for partition, (digest, another) in enumerate(pairs):
        if digest == another:
            continue
        first = partition * width
        rows, others = one.rows(first, first + width), other.rows(first, first + width)
        differs = (rows["checksum"] != others["checksum"]) | (rows["bytes"] != others["bytes"])
        differs |= rows["keys"] != others["keys"]
        yield from (first + np.flatnonzero(differs)).tolist()


def _pairs(block: Block) -> dict[bytes, bytes]:
    """The keys of a block, 16 bytes each, and their values."""
    body, count = block.body, block.row.keys
    keys = keys_of(body, count)
    found = {}
    for rank in range(count):
        begin, end = span_of(body, count, rank)
        found[keys[rank * KEY_BYTES : (rank + 1) * KEY_BYTES]] = body[begin:end]
    return found
