"""Cases of a campaign: each has a seed of its own, so that one that fails can be seen again by itself.

CASES=1000000 SEED=7 pytest tests/fuzz       that many of each kind, from another first seed
"""

import gc
import os
import random
import time
from collections.abc import Iterator

SLOW = 0.1 if "CASES" in os.environ else 1.0
"""Seconds of a processor that no case takes, and on a machine that others use too: most take about one thousandth."""

FROZEN = 1000
"""Cases between two times at which what is kept is hidden from the collector."""


def cases(usual: int) -> Iterator[tuple[int, random.Random]]:
    """`usual` ones, or as many as $CASES says, each with its seed."""
    first = int(os.environ.get("SEED", "1"))
    try:
        for seed in range(first, first + int(os.environ.get("CASES", usual))):
            if (seed - first) % FROZEN == 0:
                # So that no case has to wait until the collector has looked at all that pytest has and keeps, which
                # includes each line that was logged.
                gc.collect()
                gc.freeze()
            started = time.process_time()
            yield seed, random.Random(seed)
            assert time.process_time() - started < SLOW, seed
    finally:
        gc.unfreeze()


def mutated(chooser: random.Random, data: bytes) -> bytes:
    """The bytes with a few of them changed, doubled, left out or cut off."""
    bad = bytearray(data)
    for _ in range(chooser.randint(1, 4)):
        if not bad:
            break
        at, length = chooser.randrange(len(bad)), chooser.choice([1, 1, 1, 2, 4, 16])
        match chooser.randrange(6):
            case 0:
                bad[at] = chooser.randrange(256)
            case 1:
                bad[at : at + length] = chooser.choice(ODD)
            case 2:
                bad[at:at] = chooser.choice(ODD)
            case 3:
                del bad[at : at + length]
            case 4:
                bad[at:at] = bad[at : at + length]
            case _:
                del bad[at:]
    return bytes(bad)


ODD = [
    b"\r\n",
    b"\n",
    b"\r",
    b" ",
    b":",
    b"\0",
    b"\xff",
    b"\t",
    b"0",
    b"-1",
    b"99999999999999999999",
    b"$",
    b"*",
    b"/",
    b"%",
    b";",
]


def pieces(chooser: random.Random, data: bytes) -> list[bytes]:
    """The bytes cut at a few places."""
    cuts = sorted(chooser.randrange(len(data) + 1) for _ in range(chooser.randint(0, 4)))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True) if start < end]
