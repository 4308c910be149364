"""Lookups in RocksDB, in this process and nothing else: it may run where memory is short.

python -m bench.rocks_reader DATABASE ASKED THREADS SECONDS      prints one JSON object
"""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
import numpy as np
from rocksdict import AccessType, Options, Rdict

from bench.rocks import table_options

KEY_BYTES = 16


class Asked:
    """The keys that are asked for and the values that they have, each in one piece: objects would take memory."""

    def __init__(self, path: Path) -> None:
        with np.load(path) as file:
            self.keys, self.values = file["keys"].tobytes(), file["values"].tobytes()
            self.ends = file["ends"]

    def look_up(self, store: Rdict, numbers: range, until: float) -> int:
        """How many of these were looked up until then. Ends the program at a wrong value."""
        keys, values, ends = self.keys, self.values, self.ends
        for done, number in enumerate(numbers):
            found = store.get(keys[KEY_BYTES * number : KEY_BYTES * (number + 1)])
            if found != values[ends[number] : ends[number + 1]]:
                sys.exit(f"RocksDB has {found!r} instead of {values[ends[number] : ends[number + 1]]!r}")
            if time.perf_counter() > until:
                return done + 1
        return len(numbers)


@click.command()
@click.argument("database", type=click.Path(path_type=Path))
@click.argument("asked", type=click.Path(path_type=Path))
@click.argument("threads", type=int)
@click.argument("seconds", type=float)
def main(database: Path, asked: Path, threads: int, seconds: float) -> None:
    """Look up the first half of ASKED to warm the memory, and time the second half."""
    all_asked = Asked(asked)
    count = len(all_asked.ends) - 1
    options = Options(raw_mode=True)
    options.set_block_based_table_factory(table_options())
    options.set_advise_random_on_open(True)
    with (
        Rdict(str(database), options, access_type=AccessType.read_only()) as store,
        ThreadPoolExecutor(threads) as pool,
    ):

        def together(first: int, last: int) -> float:
            start = time.perf_counter()
            parts = [range(first + part, last, threads) for part in range(threads)]
            done = sum(pool.map(lambda part: all_asked.look_up(store, part, start + seconds), parts))
            return done / (time.perf_counter() - start)

        together(0, count // 2)
        click.echo(json.dumps({"rate": together(count // 2, count)}))


if __name__ == "__main__":
    main()
