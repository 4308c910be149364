"""The events of all workers of a router, told through files as their figures are.

Files of their own: figures are written twice a second, events only when there are new ones.
"""

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ringkv.router.figures.sheet import Copy, Sheet
from ringkv.router.figures.versions import written_out
from ringkv.router.members.events import Event, EventLog, Kind
from ringkv.router.policy import EVENTS_KEPT


class Chronicle:
    """`file` is where this worker writes its events, `others` are those of the others; a single worker has none."""

    def __init__(self, log: EventLog, file: Path | None = None, others: tuple[Path, ...] = ()) -> None:
        self._log = log
        self._sheet = Sheet(file) if file is not None else None
        self._others = tuple(map(Copy, others))
        self._past = _read(Copy(file)) if file is not None else []
        self._written = 0

    def all(self) -> list[Event]:
        """The events of all workers, the oldest first."""
        found = self._own()
        for copy in self._others:
            found += _read(copy)
        return sorted(found, key=lambda event: event.at)

    def write(self) -> None:
        """Write this worker's events for the others, if there are new ones."""
        count = self._log.count
        if self._sheet is None or self._written == count:
            return
        if self._sheet.write([asdict(event) for event in self._own()]):
            self._written = count

    def _own(self) -> list[Event]:
        """The events of this process, and of the workers that died and whose place it has taken."""
        return [*self._past, *self._log.latest()][-EVENTS_KEPT:]


def told(events: Iterable[Event]) -> list[dict[str, Any]]:
    """Events as `GET /events` tells them: the time as RFC 3339, UTC, to the millisecond."""
    return [{**asdict(event), "at": written_out(event.at)} for event in events]


def _read(copy: Copy) -> list[Event]:
    """The events that a worker has written; none if it has not yet."""
    return [Event(**{**event, "kind": Kind(event["kind"])}) for event in copy.read() or ()]
