"""Who may read at the ports of a process: what its options name, and what was read from there."""

import logging
from dataclasses import dataclass
from pathlib import Path

from ringkv.cluster.errors import StartupError
from ringkv.process.tokens import TokenFile

log = logging.getLogger("ringkv.process")


@dataclass(frozen=True, slots=True)
class AccessFiles:
    """The files that the options name; None where everybody may read."""

    tokens: Path | None = None

    def open(self) -> "Access":
        """Read them. Raises StartupError."""
        return Access(TokenFile(self.tokens) if self.tokens else None)

    def are_right(self) -> bool:
        """Whether they can be read as they are now; what is wrong is logged."""
        try:
            self.open()
        except StartupError as error:
            _log_kept(error)
            return False
        return True


EVERYBODY = AccessFiles()


@dataclass(frozen=True, slots=True)
class Access:
    tokens: TokenFile | None = None

    def reload(self) -> None:
        """Read the files again. What cannot be read stays as it was, which is logged."""
        for file in filter(None, (self.tokens,)):
            try:
                file.reload()
            except StartupError as error:
                _log_kept(error)


def _log_kept(error: StartupError) -> None:
    log.error("%s; what was read before goes on to count", error)
