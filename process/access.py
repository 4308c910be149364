"""Who may read at the ports of a process, and how the ports are encrypted: the files of its options, read."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ringkv.cluster.errors import StartupError
from ringkv.process.connections import ConnectionGuard
from ringkv.process.secured import Secured
from ringkv.process.tls import ServerFiles, ServerTls
from ringkv.process.tokens import TokenFile

log = logging.getLogger("ringkv.process")


@dataclass(frozen=True, slots=True)
class AccessFiles:
    """The files that the options name; without tokens everybody may read, without TLS nothing is encrypted."""

    tokens: Path | None = None
    tls: ServerFiles | None = None

    def open(self) -> "Access":
        """Read them. Raises StartupError."""
        return Access(TokenFile(self.tokens) if self.tokens else None, ServerTls(self.tls) if self.tls else None)

    def check(self) -> None:
        """Read them as `Access.reload` would, for a process that begins anew instead. Raises StartupError."""
        tokens = self.open().tokens
        if tokens is not None:
            tokens.reload()


EVERYBODY = AccessFiles()


@dataclass(frozen=True, slots=True)
class Access:
    tokens: TokenFile | None = None
    tls: ServerTls | None = None

    def reload(self) -> None:
        """Read the files again. What cannot be read stays as it was, which is logged."""
        for files in (self.tokens, self.tls):
            try:
                if files is not None:
                    files.reload()
            except StartupError as error:
                _log_kept(error)

    def secured(
        self, protocol: Callable[[], asyncio.Protocol], guard: ConnectionGuard
    ) -> Callable[[], asyncio.Protocol]:
        """What makes the protocol of a new connection: `protocol`, with a TLS handshake before it if there is TLS."""
        return partial(Secured, self.tls, guard, protocol) if self.tls is not None else protocol


OPEN = Access()


def are_right(*openings: Callable[[], object]) -> bool:
    """Whether all of these files can be read as they are now; what is wrong with one is logged."""
    right = True
    for opening in openings:
        try:
            opening()
        except StartupError as error:
            _log_kept(error)
            right = False
    return right


def _log_kept(error: StartupError) -> None:
    log.error("%s; what was read before goes on to count", error)
