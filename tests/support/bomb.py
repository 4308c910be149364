"""A request body of 2 MB that is 2 GB behind its encoding, and the watch over the event loop that has to read it."""

import asyncio
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ringkv.process.lag import LoopLag

EMPTY = b"\0" * (1 << 24)
"""What the bomb repeats."""

LAG = 1.0
"""Seconds that the event loop may be late: to read 2 MB takes milliseconds, to decode them took 2 to 9 s."""


def bomb() -> bytes:
    """2 MB of gzip that are 2 GB: a flush ends each part, so that one part can stand there many times."""
    encoder = zlib.compressobj(9, zlib.DEFLATED, 31)
    head = encoder.compress(EMPTY) + encoder.flush(zlib.Z_FULL_FLUSH)
    part = encoder.compress(EMPTY) + encoder.flush(zlib.Z_FULL_FLUSH)
    return head + part * 127 + encoder.flush()


BOMB = bomb()


@asynccontextmanager
async def unhindered() -> AsyncIterator[None]:
    """The event loop, which the server shares with the test, is never late by more than LAG meanwhile."""
    lag = LoopLag()
    watching = asyncio.create_task(lag.watch())
    try:
        yield
        await asyncio.sleep(0)
    finally:
        watching.cancel()
    assert lag.seconds < LAG
