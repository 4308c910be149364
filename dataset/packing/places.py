"""From row numbers to places: packing counts rows through all sources, messages name a source and a row of it."""

from bisect import bisect_right

from ringkv.cluster.errors import DuplicateKey
from ringkv.dataset.packing.merge import Duplicate
from ringkv.dataset.source.protocol import Named, place


class Places:
    """The sources that have been read so far, and the number of the first row of each."""

    def __init__(self) -> None:
        self._sources: list[Named] = []
        self._begins: list[int] = []
        self.rows = 0

    def add(self, source: Named, rows: int) -> None:
        """Note that the next so many rows are of this source."""
        if not self._sources or self._sources[-1] is not source:
            self._sources.append(source)
            self._begins.append(self.rows)
        self.rows += rows

    def of(self, row: int) -> str:
        """The place with which a message begins, of a row that is counted through all sources from 0."""
        return place(*self._find(row))

    def twice(self, found: Duplicate) -> DuplicateKey:
        """The error that names both rows of a key."""
        key, first, second = found
        return DuplicateKey(
            f"{self.of(second)}: key {key} stands {self._beside(first, second)} too;"
            " remove one, or choose with --on-duplicate=first|last"
        )

    def _beside(self, row: int, other: int) -> str:
        """The place of a row, in a message that has already named the place of the other row."""
        (source, at), (named, _) = self._find(row), self._find(other)
        if source is not named:
            return f"at {place(source, at)}"
        return f"on line {at}" if source.unit == "line" else f"in row {at}"

    def _find(self, row: int) -> tuple[Named, int]:
        # Of sources that begin with the same row all but the last are empty.
        number = bisect_right(self._begins, row) - 1
        return self._sources[number], row - self._begins[number] + 1
