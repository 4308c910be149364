"""What each step has measured, a file each: of one commit and one machine, unless it may be of several."""

from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Final

from bench.errors import BenchmarkFailed
from bench.figures import Figures

STEPS: Final = (
    "memory",
    "lookup",
    "startup",
    "pack",
    "serve",
    "open",
    "sizes",
    "skew",
    "redis",
    "mget",
    "cluster",
    "tls",
    "growth",
    "scaling",
)
"""Of `python -m bench`, which measures all of them in this order if none is named."""

DATASET_STEPS: Final = ("disk", "large", "remote", "plan")
"""Commands of their own: they are about datasets that are large."""


class Results:
    """The folder, and whether what is of another commit or machine may stand beside the rest."""

    def __init__(self, folder: Path, *, mixed: bool) -> None:
        self._folder = folder
        self._mixed = mixed

    def clear(self, place: str) -> None:
        """Begin anew with STEPS. What DATASET_STEPS have measured at this place stays, as it takes long."""
        places = self._places()
        for step in (*STEPS, *DATASET_STEPS):
            if step in STEPS or places.get(step) != place:
                (self._folder / f"{step}.json").unlink(missing_ok=True)

    def admit(self, steps: Collection[str], place: str) -> None:
        """Is all but these steps of this place, an Origin's? Raises BenchmarkFailed."""
        self._check({step: found for step, found in self._places().items() if step not in steps} | {"": place})

    def keep(self, step: str, figures: Figures) -> None:
        figures.write(self._folder / f"{step}.json")

    def figures(self) -> Figures:
        """All that is there. Raises BenchmarkFailed."""
        self._check(self._places())
        return self._read()

    def _read(self) -> Figures:
        figures = Figures()
        for step in (*STEPS, *DATASET_STEPS):
            with suppress(FileNotFoundError):
                figures.read(self._folder / f"{step}.json")
        return figures

    def _places(self) -> dict[str, str]:
        return {step: origin.place for step, origin in self._read().origins.items()}

    def _check(self, places: dict[str, str]) -> None:
        if self._mixed or len(set(places.values())) < 2:
            return
        told = "; ".join(
            f"{', '.join(step or 'this run' for step, found in places.items() if found == place)}: {place}"
            for place in dict.fromkeys(places.values())
        )
        raise BenchmarkFailed(
            f"figures of different origin in {self._folder} ({told}): `python -m bench` measures all again"
            f" but what {', '.join(DATASET_STEPS)} have of this commit and machine,"
            " --mixed has each part of the report tell its own"
        )
