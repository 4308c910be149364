"""One block from the store, at once, for whoever waits for it."""

from ringkv.dataset.block import Row
from ringkv.dataset.segment import FETCHES, Segment
from ringkv.shard.threads import to_end


async def fetch(segment: Segment, row: Row) -> bytes:
    """As `Segment.fetch`, for the event loop. Once it is cancelled, it writes nothing any more. Raises StoreError."""
    origin = segment.origin
    assert origin is not None
    place, left = origin.location, FETCHES
    while left:
        (part,) = await origin.fetch(segment.entry.name, [(row.offset, row.offset + row.size)])
        body = bytes(part)
        if await to_end(segment.take, row, body):
            break
        # What was published again meanwhile, since it was damaged, may be right.
        place, left = origin.location, (left - 1 if place == origin.location else FETCHES)
    return body
