"""The data that everything is measured with: the text file, its packed form, and a sample of its keys."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.processes import run
from bench.sample import Sampler

KEY_BYTES: Final = 36

SAMPLE: Final = 1_000_000
"""Keys that a load asks for: of a million pairs all of them, which neither a processor nor a router can cache, and a
file that wrk reads in a second."""


@dataclass(frozen=True, slots=True)
class Data:
    """`text` holds `pairs` pairs; `packed` is a dataset of them, and `keys` a random sample of its keys, one a line."""

    pairs: int
    text: Path
    packed: Path
    keys: Path

    def lines(self) -> Iterator[tuple[bytes, bytes]]:
        """Key and value of each line."""
        with self.text.open("rb") as file:
            for line in file:
                yield line[:KEY_BYTES], line[KEY_BYTES + 1 :].removesuffix(b"\n")

    def first(self, count: int) -> list[tuple[bytes, bytes]]:
        """The first pairs of the file."""
        return [pair for pair, _ in zip(self.lines(), range(count), strict=False)]

    def value_bytes(self) -> int:
        """What all values have together: each line has its key, a space and a newline beside it."""
        return self.text.stat().st_size - self.pairs * (KEY_BYTES + 2)

    def packed_bytes(self) -> int:
        """What all files of the dataset have together."""
        return sum(path.stat().st_size for path in self.packed.iterdir())


def prepare(folder: Path, pairs: int, value_size: int | None = None) -> Data:
    """Generate and pack, unless that was done before; values are of `value_size` bytes, or 60 on average."""
    text = generate(folder, pairs, value_size)
    data = Data(pairs, text, text.with_suffix(".dataset"), text.with_suffix(".asked"))
    if not data.packed.exists():
        run(sys.executable, "-m", "ringkv", "pack", data.text, data.packed)
    if not data.keys.exists():
        data.keys.write_bytes(b"\n".join(sample_keys(data.packed, SAMPLE)) + b"\n")
    return data


def generate(folder: Path, pairs: int, value_size: int | None = None) -> Path:
    """The text file of so many pairs, made unless it is there."""
    folder.mkdir(parents=True, exist_ok=True)
    text = folder / (f"{pairs}.data" if value_size is None else f"{pairs}x{value_size}.data")
    if not text.exists():
        building = text.with_suffix(".new")
        options = [] if value_size is None else ["--value-size", str(value_size)]
        run(sys.executable, "-m", "ringkv.dataset.generate", "--pairs", str(pairs), *options, "--output", building)
        building.rename(text)
    return text


def sample_keys(packed: Path, count: int, seed: int = 1) -> list[bytes]:
    """Up to `count` different keys of a dataset, drawn evenly, in random order."""
    return [key for key, _ in Sampler(packed).any(count, seed)]
