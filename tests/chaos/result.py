"""What one scenario found, and what was demanded of it; kept in a folder until the report is written."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from tests.chaos.measured import Measured, Outcome
from tests.chaos.run import Mark


@dataclass(frozen=True, slots=True)
class Result:
    """`longest` is the demand on the longest wait, in seconds; `outage` says that for a while nobody could answer."""

    name: str
    title: str
    measured: Measured
    marks: list[Mark]
    longest: float | None = None
    outage: bool = False
    note: str = ""

    @property
    def broken(self) -> int:
        """Requests that failed although they should not have."""
        return self.measured.count(Outcome.FAILED) if self.outage else self.measured.failed

    @classmethod
    def read(cls, folder: Path) -> Self:
        fields = json.loads((folder / "result.json").read_text("utf-8"))
        fields["marks"] = [Mark(**mark) for mark in fields["marks"]]
        return cls(measured=Measured.read(folder / "measured.npz"), **fields)

    def write(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.measured.write(folder / "measured.npz")
        names = ("name", "title", "longest", "outage", "note")
        fields = {name: getattr(self, name) for name in names} | {"marks": [asdict(mark) for mark in self.marks]}
        (folder / "result.json").write_text(json.dumps(fields, indent=1), encoding="utf-8")
