"""The tokens by which readers prove that they may read: in a file, one a line, several at once so that they can change.

Source of the form: RFC 6750, section 2.1. Only digests are kept, which have one length whatever they are compared with.
"""

import hmac
import os
import re
from hashlib import sha256
from pathlib import Path
from typing import Final

from ringkv.cluster.errors import StartupError

MAX_FILE: Final = 1 << 20
"""Bytes that a file of tokens may have: a larger one must be something else."""

_TOKEN: Final = re.compile(rb"[A-Za-z0-9._~+/-]+=*")
_BEARER: Final = re.compile(r"bearer +(\S+)", re.IGNORECASE)


class TokenFile:
    """`digests` are those of the tokens that are valid now; `reload` replaces all of them.

    `refused` is how many requests had no valid token; whoever refuses one counts it.
    """

    def __init__(self, path: Path) -> None:
        """Raises StartupError."""
        self._path = path
        self.digests = _read(path)
        self.refused = 0

    def reload(self) -> None:
        """Read the file again. Raises StartupError, and then the tokens stay as they were.

        A file that has no name any more is refused: another one has got it.
        """
        self.digests = _read(self._path, again=True)

    def find(self, token: bytes) -> bytes | None:
        """The digest of a valid token, None for any other. Takes equally long for all, right or wrong."""
        digest = sha256(token).digest()
        same = [hmac.compare_digest(digest, known) for known in self.digests]
        return digest if True in same else None

    def admits(self, authorization: str) -> bool:
        """Whether this value of the HTTP header Authorization has a valid token."""
        found = _BEARER.fullmatch(authorization)
        return found is not None and self.find(found[1].encode("utf-8", "surrogateescape")) is not None


def _read(path: Path, *, again: bool = False) -> tuple[bytes, ...]:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE + 1)
            # A file that is mounted by itself, as Compose does it, stays the one that it was when another one gets its
            # name: tokens that were taken out there would count on here, and nobody would be told.
            replaced = again and not os.fstat(file.fileno()).st_nlink
    except OSError as error:
        raise StartupError(f"tokens cannot be read: {path}: {error.strerror or error}") from error
    if replaced:
        raise StartupError(
            f"tokens cannot be read: {path} was replaced where it is mounted from, and this is the file of before;"
            " restart the container"
        )
    if len(content) > MAX_FILE:
        raise StartupError(f"tokens cannot be read: {path} has more than {MAX_FILE} bytes")
    digests = []
    for number, line in enumerate(content.splitlines(), start=1):
        token = line.strip()
        if not token or token.startswith(b"#"):
            continue
        if not _TOKEN.fullmatch(token):
            raise StartupError(
                f"tokens cannot be read: {path}, line {number}: not a token"
                " (want letters, digits and -._~+/, one token a line)"
            )
        digests.append(sha256(token).digest())
    if not digests:
        raise StartupError(f"tokens cannot be read: {path} has none, so nobody could read; put one into each line")
    return tuple(digests)
