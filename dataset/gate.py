"""The gate: how many of the keys that are served are gone in the dataset that is to take their place.

A truncated source is a valid file: only a comparison with what is served shows that half of it is missing. Keys lie by
their hashes, so whatever is missing is missing everywhere alike, and a sample from all over the ring shows it.
"""

from typing import Final, NamedTuple

from ringkv.dataset.block import keys_of
from ringkv.dataset.content import Content
from ringkv.dataset.format import KEY_BYTES
from ringkv.dataset.manifest import Manifest

EXACT_BYTES: Final = 64 << 20
"""Datasets of up to so many bytes are compared as a whole: that takes a fraction of a second."""

RUNS: Final = 64
"""Of larger datasets so many runs of blocks are compared, at least, which begin equally far from each other."""

MAX_RUNS: Final = 1024

RUN_KEYS: Final = 4096
"""Keys of a run, about: with a quarter of a million in all a share of 10 % is known to within 0.2 %."""

RUN_BYTES: Final = 1 << 20
SAMPLE_BYTES: Final = 256 << 20
"""Bytes of a run, and of all of them, about: where values are large, runs are shorter, and there are more of them."""


class Gone(NamedTuple):
    """How many keys of the old dataset were looked for, how many are gone, and whether all keys were compared."""

    looked_for: int
    gone: int
    everything: bool

    @property
    def share(self) -> float:
        return self.gone / self.looked_for if self.looked_for else 0.0


def gone(old: Content, new: Content) -> Gone:
    """Compare the keys of two datasets. Raises CorruptBlock, StoreError."""
    # The arcs of the coarser ring: each of them is a run of whole blocks in either dataset.
    arcs = min(old.manifest.blocks, new.manifest.blocks)
    looked_for = missing = 0
    runs = _runs(old.manifest, arcs)
    for run in runs:
        before, after = _keys(old, run, arcs), _keys(new, run, arcs)
        looked_for += len(before)
        missing += len(before - after)
    return Gone(looked_for, missing, everything=sum(map(len, runs)) == arcs)


def _runs(manifest: Manifest, arcs: int) -> list[range]:
    """The arcs to look at, in runs that memory holds: all arcs of a small dataset."""
    keys, size = max(manifest.keys / arcs, 1e-9), max(manifest.bytes / arcs, 1e-9)
    width = max(1, int(min(RUN_KEYS / keys, RUN_BYTES / size, arcs)))
    wanted = min(max(int(SAMPLE_BYTES / (width * size)), RUNS), MAX_RUNS)
    if manifest.bytes <= EXACT_BYTES or wanted * width >= arcs:
        return [range(at, min(at + width, arcs)) for at in range(0, arcs, width)]
    return [range(at, at + width) for at in (number * arcs // wanted for number in range(wanted))]


def _keys(content: Content, run: range, arcs: int) -> set[bytes]:
    """The keys of a run of arcs, 16 bytes each."""
    width = content.manifest.blocks // arcs
    found: set[bytes] = set()
    for block in content.blocks(range(run.start * width, run.stop * width)):
        keys = keys_of(block.body, block.row.keys)
        found.update(keys[at : at + KEY_BYTES] for at in range(0, len(keys), KEY_BYTES))
    return found
