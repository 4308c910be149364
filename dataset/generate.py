"""Data files to try things with, the same for the same seed: `python -m ringkv.dataset.generate --pairs 1000000`.

Among the values are those that careless programs lose: empty ones, runs of spaces, a carriage return at the end,
UTF-8, and bytes that are no text.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click
import numpy as np
from numpy.typing import NDArray

from ringkv.cluster.limits import MAX_VALUE

BLOCK: Final = 100_000
"""Pairs made at once."""

BLOCK_BYTES: Final = 16 << 20
"""Bytes made at once: where values are large, fewer pairs than BLOCK."""

FIRST_LINES: Final = (
    b"3479d894-3271-4935-88cf-a06f3cbb80a5 this is a value\n",
    b"f8a24bb8-eff8-41dc-929b-10b4c3e49e05 1234\n",
    b"0cdfafb5-edb4-48a6-a7ec-5b1a75831f91 here is another value\n",
)

_TEMPLATE: Final = np.frombuffer(b"00000000-0000-4000-8000-000000000000 ", np.uint8)
_DIGITS: Final = np.array([at for at, digit in enumerate(_TEMPLATE[:36]) if digit != ord("-")])
_HEX: Final = np.frombuffer(b"0123456789abcdef", np.uint8)

# From a random byte to a byte of a value. Some come up a little more often than others, which does no harm here.
_PRINTABLE: Final = np.resize(np.arange(0x21, 0x7F, dtype=np.uint8), 256)
_ANY: Final = np.array([byte if byte != ord("\n") else 0xFF for byte in range(256)], np.uint8)


def lines(pairs: int, seed: int, value_size: int | None = None) -> Iterator[bytes]:
    """Blocks of lines, `pairs` in all; values have `value_size` bytes each, or 0 to 360 and 60 on average."""
    rng = np.random.default_rng(seed)
    first = FIRST_LINES[:pairs]
    if first:
        yield b"".join(first)
    block = BLOCK if value_size is None else max(1, min(BLOCK, BLOCK_BYTES // (value_size + 38)))
    for done in range(len(first), pairs, block):
        count = min(block, pairs - done)
        lengths = _lengths(rng, count) if value_size is None else np.full(count, value_size)
        yield _join(_keys(rng, count), _values(rng, lengths), lengths)


def _keys(rng: np.random.Generator, count: int) -> NDArray[np.uint8]:
    """Keys with the space behind them, a row each."""
    drawn = _random(rng, 16 * count).reshape(count, 16)
    nibbles = np.stack([drawn >> 4, drawn & 15], axis=2).reshape(count, 32)
    nibbles[:, 12] = 4
    nibbles[:, 16] = 8 | nibbles[:, 16] & 3
    keys = np.tile(_TEMPLATE, (count, 1))
    keys[:, _DIGITS] = _HEX[nibbles]
    return keys


def _lengths(rng: np.random.Generator, count: int) -> NDArray[np.int64]:
    """Mostly short, now and then long, one in a hundred empty."""
    lengths = np.minimum(rng.gamma(2.0, 30.3, count), 360).astype(np.int64)
    lengths[rng.random(count) < 0.01] = 0
    return lengths


def _values(rng: np.random.Generator, lengths: NDArray[np.int64]) -> NDArray[np.uint8]:
    """All values, one after the other. One in ten is of a kind that careless programs lose."""
    ends = np.cumsum(lengths)
    values = _PRINTABLE[_random(rng, int(ends[-1]))]
    kinds = rng.integers(0, 40, len(lengths))
    for kind, change in enumerate((_spaces, _returns, _utf8, _bytes)):
        for value in np.flatnonzero((kinds == kind) & (lengths > 0)):
            change(rng, values[ends[value] - lengths[value] : ends[value]])
    return values


def _spaces(rng: np.random.Generator, value: NDArray[np.uint8]) -> None:
    value[rng.random(len(value)) < 0.5] = ord(" ")


def _returns(_rng: np.random.Generator, value: NDArray[np.uint8]) -> None:
    value[-1] = ord("\r")


def _utf8(_rng: np.random.Generator, value: NDArray[np.uint8]) -> None:
    text = ("Grüße, 世界 🌍 " * (len(value) // 16 + 1)).encode()[: len(value)].decode(errors="ignore").encode()
    value[: len(text)] = np.frombuffer(text, np.uint8)


def _bytes(rng: np.random.Generator, value: NDArray[np.uint8]) -> None:
    value[:] = _ANY[_random(rng, len(value))]


def _random(rng: np.random.Generator, size: int) -> NDArray[np.uint8]:
    return np.frombuffer(rng.bytes(size), np.uint8)


def _join(keys: NDArray[np.uint8], values: NDArray[np.uint8], lengths: NDArray[np.int64]) -> bytes:
    """The lines. Keys and newlines are put in their places; the values fill what is left, in order."""
    ends = np.cumsum(lengths + keys.shape[1] + 1)
    text = np.empty(int(ends[-1]), np.uint8)
    free = np.ones(len(text), np.bool_)
    of_keys = (ends - lengths - keys.shape[1] - 1)[:, None] + np.arange(keys.shape[1])
    for places, content in ((of_keys, keys), (ends - 1, ord("\n"))):
        text[places] = content
        free[places] = False
    text[free] = values
    return text.tobytes()


@click.command()
@click.option("--pairs", type=click.IntRange(min=0), default=10_000, show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True)
@click.option("--value-size", type=click.IntRange(0, MAX_VALUE), help="Bytes of each value.  [default: 0 to 360]")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="[default: standard output]")
def main(pairs: int, seed: int, value_size: int | None, output: Path | None) -> None:
    """Write a data file of random pairs, the same for the same options."""
    if output is not None:
        with output.open("wb") as file:
            file.writelines(lines(pairs, seed, value_size))
    elif sys.stdout.isatty():
        raise click.UsageError("these values are not for a terminal; redirect the output, or give --output FILE")
    else:
        sys.stdout.buffer.writelines(lines(pairs, seed, value_size))


if __name__ == "__main__":
    main()
