"""Limits and policies that every process shares, each with the reason for its value.

Those of blocks and of the ring are one calculation: how many keys a block holds decides how many blocks and partitions
there are, and that decides how even the placement can be and what one change moves.
"""

from typing import Final

KEYS_PER_BLOCK: Final = 256
"""At this size a lookup searches about 800 bytes, and Arrow's 230 bytes a block are less than a byte a key."""

BLOCK_BYTES: Final = 64 << 10
"""Datasets of larger values get more blocks than their keys call for: a block is read and checked as a whole, and a
disk reads this much about as quickly as a page."""

MIN_KEYS_PER_BLOCK: Final = 4
"""Where single values are larger than a block should be, even smaller blocks would be empty for the most part."""

MIN_BLOCKS: Final = 256
"""Partitions are at least as many: with fewer, a small dataset could not be shared out among a few shards as evenly as
LOAD_BOUND asks."""

MAX_BLOCKS: Final = 1 << 26
"""As many as 17 billion keys need."""

MAX_BLOCK_BYTES: Final = (1 << 31) - 1
"""Arrow's `binary` counts a batch's value bytes with 32-bit offsets."""

SEGMENT_BYTES: Final = 256 << 20
"""A segment is what one task packs, and what is uploaded: small enough to be done again, large enough to be few."""

MAX_SEGMENT_BYTES: Final = (1 << 32) - 1
"""The table of blocks counts a segment's bytes with 32 bits. Segments are cut between partitions, so this is also about
the most that a partition may have: datasets of up to 64 TiB."""

MAX_VALUE: Final = 64 << 20
"""A value is one reply held in memory whole, at both ends of a link."""

LARGE_VALUE: Final = 256 << 10
"""Bytes of a value beyond which a router is told its size instead, and asks for pieces of as much once it has memory
for all of it. A link takes half a millisecond for so many, for which the small values behind them wait."""

MAX_BATCH: Final = 4 << 20
"""Bytes of all values in a reply to MGET that has more than one. A router holds a whole reply of each shard, and
cannot know its size when it asks: without this limit 512 values of MAX_VALUE would be 32 GiB."""

SCAN_KEYS: Final = 1000
"""Keys that one SCAN looks at, at most, whatever its COUNT: 1 ms of a process's time, for which other clients wait."""

KEYS_LIMIT: Final = 100_000
"""Keys of the largest dataset whose names KEYS looks through: their reply is held whole, and takes 5 MB. For more there
is SCAN, whose replies are small."""

MAX_SHARDS: Final = 1024
"""Shards of a ring, at most: with so many it takes three seconds to build, and with each further one longer."""

MAX_REPLICAS: Final = 64
"""Owners of each key, at most. More than there are shards are allowed, since some of these may be lost just now."""

MAX_EXTRA: Final = 256
"""Extra owners of hot partitions, all together: some kilobytes of a command, and a tenth of a second to place."""

VIRTUAL_NODES: Final = 512
"""Points of each shard on the ring: with fewer, shards reach LOAD_BOUND so often that a change moves more partitions
than it must."""

MIN_WEIGHT: Final = 0.1
MAX_WEIGHT: Final = 100.0
"""What a shard may weigh: more than a thousand times as much as another one is taken for a typing mistake."""

LOAD_BOUND: Final = 1.05
"""No shard owns more than this times its share of the partitions, rounded up to a whole one."""

GATE: Final = 0.1
"""The share of the keys that are served, or were asked for lately, that another version may lack unless `--gate` says
otherwise: data lose some keys from day to day, and a truncated file many."""
