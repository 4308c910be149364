"""What one lookup costs: `Store.get` in a dataset, and a dict that holds the same pairs.

python -m bench.lookup PACKED [TEXT]      in a process of its own; prints nanoseconds a lookup, one JSON object
"""

import gc
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Final

import click

from bench.data import Data, sample_keys
from bench.errors import BenchmarkFailed
from bench.figures import RINGKV, Figures
from bench.hot import leased, warm
from ringkv.dataset.dataset import Dataset

DICT: Final = "dict.get"
LOOKUPS: Final = 1_000_000
ROUNDS: Final = 5


def look_up(data: Data, figures: Figures, quantity: str = "lookup", *, beside_dict: bool = True) -> None:
    """Lookups of random keys that are there, in a process of its own."""
    command = [sys.executable, "-m", "bench.lookup", str(data.packed), *([str(data.text)] if beside_dict else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    if done.returncode != 0:
        raise BenchmarkFailed(f"lookups failed: {done.stderr[-2000:]}")
    for subject, rounds in json.loads(done.stdout).items():
        for seconds in rounds:
            figures.add(subject, quantity, seconds, data.pairs)
        name = "Store.get" if subject == RINGKV else subject
        click.echo(f"{data.pairs:,} pairs: {name} {1e9 * (figures.median(subject, quantity, data.pairs) or 0):,.0f} ns")


@click.command()
@click.argument("packed", type=click.Path(path_type=Path))
@click.argument("text", type=click.Path(path_type=Path), required=False)
def main(packed: Path, text: Path | None) -> None:
    keys = sample_keys(packed, LOOKUPS)
    keys = list(islice(cycle(keys), LOOKUPS))
    found: dict[str, list[float]] = {}
    with Dataset.open(packed) as dataset:
        store = leased(dataset)
        warm(store, keys)
        ways: dict[str, Callable[[bytes], bytes | None]] = {RINGKV: store.get}
        if text is not None:
            ways[DICT] = dict(Data(0, text, packed, packed).lines()).get
        gc.collect()
        gc.freeze()
        for _ in range(ROUNDS):
            for name, get in ways.items():
                found.setdefault(name, []).append(_seconds(get, keys))
        click.echo(json.dumps(found))


def _seconds(get: Callable[[bytes], bytes | None], keys: Sequence[bytes]) -> float:
    """Seconds a lookup, the loop around it included."""
    start = time.perf_counter()
    for key in keys:
        get(key)
    return (time.perf_counter() - start) / len(keys)


if __name__ == "__main__":
    main()
