"""Limits and policies that every process shares, each with the reason for its value.

They stand together because they are one calculation: how many keys a partition holds decides how many
partitions there are, and that decides how even the placement can be and what one change moves.
"""

from typing import Final

KEYS_PER_PARTITION: Final = 256
"""A lookup then looks at about 800 bytes, and Arrow's 440 bytes a partition are less than 2 bytes a key."""

MIN_PARTITIONS: Final = 256
"""Enough for the load bound to be met with a few shards, also by a small dataset."""

MAX_PARTITIONS: Final = 65_536
"""A placement is one tuple a partition, computed by every process at every change: under a second at this size."""

PARTITION_BYTES: Final = 16 << 20
"""Datasets of large values get more partitions than their keys call for, so that one stays quick to load."""

MAX_PARTITION_BYTES: Final = (1 << 31) - 1
"""Arrow's `binary` counts a batch's value bytes with 32-bit offsets."""

MAX_VALUE: Final = 64 << 20
"""A value is one reply held in memory whole, at both ends of a link."""

MAX_BATCH: Final = 4 << 20
"""Bytes of the values in one reply to MGET, as long as it has more than one: what a router holds of each shard for a
batch, whose values' sizes nobody knows beforehand. Without it 512 of them could have 32 GiB."""

VIRTUAL_NODES: Final = 512
"""Points a shard on the ring: with fewer the bound is hit so often that a change moves more than it must."""

LOAD_BOUND: Final = 1.05
"""No shard owns more than this times the mean number of partitions."""
