"""Watches the segments that a shard serves: one that is overwritten is noticed within a second, and served no more.

    stamp as it was ──► served where it is mapped
          │ changed                ▲ all as it was
          ▼                        │
    in doubt: each read is checked; all that was checked is read again ──► another size, other bytes: it is left

The stamp changes also by a rename, `chmod` or `touch`, which harm nothing: so it raises a doubt and proves nothing.
"""

import asyncio
import logging
from typing import Final

from ringkv.cluster.errors import DatasetOverwritten
from ringkv.dataset.block import Row
from ringkv.dataset.segment import LOOK_SECONDS, Segment, Stamp
from ringkv.shard.blocks import Blocks
from ringkv.shard.body import read_body, why_wrong
from ringkv.shard.threads import to_end
from ringkv.shard.warmup import Warmup

log = logging.getLogger("ringkv.shard")

LOOKED_AT: Final = 256
"""Segments whose stamps are looked at together: with up to 2,560, or 640 GiB, each has its turn within a second."""

CHECKED_AT_ONCE: Final = 64
"""Blocks that are read again between two looks at the file's size: they take about a millisecond."""


async def watch(blocks: Blocks, warmup: Warmup) -> None:
    """Run until cancelled. Raises DatasetOverwritten, after which the blocks are not read any more."""
    segments = blocks.dataset.segments
    checking: dict[int, asyncio.Task[Stamp]] = {}
    try:
        while True:
            for first in range(0, max(1, len(segments)), LOOKED_AT):
                await asyncio.sleep(LOOK_SECONDS)
                for number, segment in enumerate(segments[first : first + LOOKED_AT], first):
                    now = segment.look()
                    if number not in checking and now != segment.stamp:
                        checking[number] = asyncio.create_task(_checked_again(blocks, number))
                    elif number in checking and checking[number].done():
                        segment.stamp = checking.pop(number).result()
                        warmup.add(blocks.trust(number))
                        log.info("%s is what it was", segment.path)
    except DatasetOverwritten as error:
        blocks.abandon(str(error))
        raise
    finally:
        for task in checking.values():
            task.cancel()
        await asyncio.gather(*checking.values(), return_exceptions=True)


async def _checked_again(blocks: Blocks, number: int) -> Stamp:
    """Check again all that had been checked; returns the stamp at which it was right. Raises DatasetOverwritten."""
    segment = blocks.dataset.segments[number]
    log.info("%s was touched: what was checked is checked again", segment.path)
    rows = [(block, blocks.row(block)) for block in blocks.distrust(number)]
    while True:
        stamp = segment.look()
        await asyncio.sleep(LOOK_SECONDS)
        if segment.look() != stamp:
            continue
        for first in range(0, len(rows), CHECKED_AT_ONCE):
            await to_end(_check, segment, rows[first : first + CHECKED_AT_ONCE])
            segment.look()
        found = blocks.suspects(number)
        if segment.look() == stamp and not found:
            return stamp
        rows += [(block, blocks.row(block)) for block in found]


def _check(segment: Segment, rows: list[tuple[int, Row]]) -> None:
    for block, row in rows:
        if why_wrong(read_body(segment, row), row):
            raise segment.changed(f"block {block} is not what it was")
