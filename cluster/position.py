"""A key's place on the ring: the one function that the packer, the shards and the routers must share.

key (lower-case canonical UUID text, 36 ASCII bytes)
  └─ xxh3_64 ──► position, 0 … 2^64-1
       └─ position >> (64 - log2 Q) ──► partition, 0 … Q-1
"""

import re

from xxhash import xxh3_64_intdigest

from cluster.errors import InvalidKey
from cluster.limits import KEYS_PER_PARTITION, MAX_PARTITIONS, MIN_PARTITIONS, PARTITION_BYTES

POSITION_BITS = 64

is_canonical = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}").fullmatch
"""A match for the canonical text of a UUID version 4 (RFC 9562), else None."""

are_key_lines = re.compile(
    rb"(?:[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-4[0-9a-fA-F]{3}-[89abAB][0-9a-fA-F]{3}-[0-9a-fA-F]{12}\n)*+"
).fullmatch
"""A match for any number of lines that are a UUID version 4 each, in any case: a third of the time for one by one."""

position = xxh3_64_intdigest
"""Canonical key, 36 bytes → its position on the ring, 0 … 2^64-1 (XXH3, 64 bits, seed 0)."""


def canonical(key: bytes) -> bytes:
    """The canonical text of `key`, which may be in upper case. Raises InvalidKey."""
    lowered = key.lower()
    if not is_canonical(lowered):
        shown = key[:60].decode("ascii", "backslashreplace")
        raise InvalidKey(f"not a UUID version 4: {shown!r} (want xxxxxxxx-xxxx-4xxx-[89ab]xxx-xxxxxxxxxxxx)")
    return lowered


def are_canonical(keys: list[bytes]) -> bool:
    """Whether all keys are for sure. Rarely False although they are: where no key has a letter among its digits."""
    lines = b"\n".join([*keys, b""])
    # Its length tells a key with a newline inside from two keys.
    return len(lines) == 37 * len(keys) and lines.islower() and are_key_lines(lines) is not None


def partition_shift(partitions: int) -> int:
    """The shift that turns a position into its partition; `partitions` is a power of two."""
    return POSITION_BITS - (partitions.bit_length() - 1)


def partition_count(keys: int, size: int) -> int:
    """How many partitions a dataset of `keys` keys in `size` bytes gets: a power of two."""
    wanted = max(keys / KEYS_PER_PARTITION, size / PARTITION_BYTES)
    count = MIN_PARTITIONS
    # The nearest power of two by ratio: 256 · √2 and below stay 256.
    while count < MAX_PARTITIONS and wanted > count * 2**0.5:
        count *= 2
    return count
