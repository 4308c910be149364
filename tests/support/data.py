"""Data files read the slow and obvious way, to compare with, and keys that no file holds."""

import random
import uuid
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "example.data"
SHARED = sorted((ROOT.parent / "shared" / "data").glob("*.data"))
"""Data files that lie beside the checkout, where somebody has put some."""

COUNTED = {
    "last 12 digits": b"00000000-0000-4000-8000-%012x",
    "first 8 digits": b"%08x-0000-4000-8000-000000000000",
    "behind a prefix": b"f8a24bb8-eff8-41dc-929b-%012d",
}
"""Keys that are counted up and not drawn, by where the number stands in them."""


def read_pairs(path: Path) -> Iterator[tuple[bytes, bytes]]:
    """The pairs of a data file as they stand there."""
    content = path.read_bytes()
    for line in content.removesuffix(b"\n").split(b"\n") if content else []:
        key, _, value = line.partition(b" ")
        yield key, value


def random_keys(count: int, seed: int) -> list[bytes]:
    rng = random.Random(seed)
    return [str(uuid.UUID(int=rng.getrandbits(128), version=4)).encode() for _ in range(count)]


def write_pairs(path: Path, pairs: dict[bytes, bytes]) -> Path:
    path.write_bytes(b"".join(b"%b %b\n" % pair for pair in pairs.items()))
    return path
