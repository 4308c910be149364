"""The figures that were measured, and their medians, which all reports are made of.

A figure is a subject (a peer, a way of packing), a quantity, and where on an axis it stands: connections, pairs,
shards, or 0. It has one sample for each round.
"""

import json
from collections import defaultdict
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Final

from bench.errors import BenchmarkFailed
from bench.origin import Origin

Place = tuple[str, str, int]
"""Subject, quantity, and the point on the axis."""

RINGKV: Final = "ringkv"


@dataclass(slots=True)
class Figures:
    """All samples of some steps, each step's origin, notes, and the peers that could not be measured."""

    samples: dict[Place, list[float]] = field(default_factory=lambda: defaultdict(list))
    notes: dict[str, str] = field(default_factory=dict)
    missing: dict[str, list[str]] = field(default_factory=dict)
    origins: dict[str, Origin] = field(default_factory=dict)

    def add(self, subject: str, quantity: str, value: float, at: int = 0) -> None:
        self.samples[subject, quantity, at].append(value)

    def median(self, subject: str, quantity: str, at: int = 0) -> float | None:
        """The median over the rounds; None where nothing was measured."""
        found = self.samples.get((subject, quantity, at))
        return median(found) if found else None

    def ratio(self, quantity: str, ours: str, theirs: str, at: int = 0) -> float | None:
        """Of two medians."""
        above, below = self.median(ours, quantity, at), self.median(theirs, quantity, at)
        return above / below if above is not None and below else None

    def subjects(self, quantity: str) -> list[str]:
        """Who has this quantity, in the order in which they were measured."""
        return list(dict.fromkeys(subject for subject, found, _ in self.samples if found == quantity))

    def points(self, subject: str, quantity: str) -> list[int]:
        """Where on its axis the quantity was measured, ascending."""
        return sorted(at for found, name, at in self.samples if (found, name) == (subject, quantity))

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [[*place, values] for place, values in self.samples.items()]
        origins = {step: asdict(origin) for step, origin in self.origins.items()}
        content = {"origins": origins, "notes": self.notes, "missing": self.missing, "samples": rows}
        path.write_text(json.dumps(content, indent=1), encoding="utf-8")

    def read(self, path: Path) -> None:
        """Take over what `write` has written. Raises BenchmarkFailed."""
        content = json.loads(path.read_text(encoding="utf-8"))
        if "origins" not in content:
            raise BenchmarkFailed(f"{path}: does not say what it was measured with: remove it")
        self.origins |= {step: Origin(**told) for step, told in content["origins"].items()}
        self.notes |= content["notes"]
        self.missing |= content["missing"]
        for subject, quantity, at, values in content["samples"]:
            self.samples[subject, quantity, at] = values
