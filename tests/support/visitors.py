"""Clients that come one after the other, each on a connection of its own, and are never sent away."""

import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

KEY: Final = "f8a24bb8-eff8-41dc-929b-10b4c3e49e05"


class Visitors:
    """Clients that come one after the other, each on a connection of its own, as whoever would be refused does."""

    def __init__(self) -> None:
        self.served = 0
        self.longest = 0.0
        self.problems: list[str] = []
        self.left = threading.Event()

    def come(self, port: int) -> None:
        while not self.left.is_set():
            started = time.monotonic()
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/{KEY}", timeout=30) as response:
                    assert response.read() == b"1234"
            except OSError as error:
                self.problems.append(str(error))
            self.served += 1
            self.longest = max(self.longest, time.monotonic() - started)


@contextmanager
def visitors(port: int) -> Iterator[Visitors]:
    """Some at once; none of them may be sent away."""
    visitors = Visitors()
    threads = [threading.Thread(target=visitors.come, args=(port,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        yield visitors
    finally:
        visitors.left.set()
        for thread in threads:
            thread.join()
    print(f"{visitors.served} served, the longest wait {visitors.longest:.2f} s, problems: {visitors.problems}")  # noqa: T201
    assert visitors.problems == []
