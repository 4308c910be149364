"""What a load found out: one row a request, as columns; and the numbers that are told of it."""

import struct
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray


class Outcome(IntEnum):
    """How a request ended. A 503 that says when to come again is honest, but it is a failure all the same."""

    RIGHT = 0
    WRONG = 1
    UNAVAILABLE = 2  # 503 with Retry-After
    FAILED = 3  # any other status, or no answer at all


ROW: Final = struct.Struct("=ddBBB")
COLUMNS: Final = np.dtype([("due", "f8"), ("latency", "f8"), ("outcome", "u1"), ("sent", "u1"), ("router", "u1")])
"""A request, as the load writes it and as it is read."""


@dataclass(frozen=True, slots=True)
class Measured:
    """`rows` are COLUMNS, in the order of the answers; `lag` is the most by which the load itself was late.

    `due` in seconds of the machine's monotonic clock, `latency` in seconds from then to the last byte. `sent`
    counts how often the request was sent: more than once where the server closed the connection before it
    answered. `router` is the number of the router that answered.
    """

    rows: NDArray[np.void]
    lag: float

    @classmethod
    def read(cls, path: Path) -> Self:
        with np.load(path) as file:
            return cls(file["rows"], float(file["lag"]))

    def write(self, path: Path) -> None:
        np.savez_compressed(path, rows=self.rows, lag=np.float64(self.lag))

    @property
    def due(self) -> NDArray[np.float64]:
        return self.rows["due"]

    @property
    def latency(self) -> NDArray[np.float64]:
        return self.rows["latency"]

    @property
    def outcome(self) -> NDArray[np.uint8]:
        return self.rows["outcome"]

    @property
    def requests(self) -> int:
        return len(self.rows)

    @property
    def rate(self) -> float:
        """Requests a second that were due."""
        return self.requests / float(self.due.max() - self.due.min())

    @property
    def wrong(self) -> int:
        return self.count(Outcome.WRONG)

    @property
    def failed(self) -> int:
        return self.count(Outcome.UNAVAILABLE) + self.count(Outcome.FAILED)

    @property
    def retried(self) -> int:
        """Requests whose connection the server closed before it answered, and which were sent again."""
        return int(np.count_nonzero(self.rows["sent"] > 1))

    @property
    def longest(self) -> float:
        return float(self.latency.max())

    def count(self, outcome: Outcome) -> int:
        return int(np.count_nonzero(self.outcome == outcome))

    def percentile(self, percent: float) -> float:
        return float(np.percentile(self.latency, percent))

    def between(self, start: float, end: float) -> Self:
        """The requests that were due in a span of time."""
        return type(self)(self.rows[(self.due >= start) & (self.due < end)], self.lag)
