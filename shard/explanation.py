"""What a shard tells of one lookup: the values of each of its steps, and how long they took."""

from typing import NamedTuple


class Explanation(NamedTuple):
    """The way of one lookup. `rank`, `offset` and `size` are None where no value was found.

    `refusal` says why the block cannot be read, and `found` is None then. `checked`: it was so before this lookup.
    """

    position: int
    partition: int
    block: int
    checked: bool
    refusal: str | None
    found: bool | None
    rank: int | None  # among the keys of the block, which are sorted by position
    offset: int | None  # of the value's first byte in the segment
    size: int | None  # of the value, in bytes
    ns: dict[str, int]  # step → nanoseconds, in the order in which they were taken
