"""TLS 1.2 and 1.3: contexts made of the files that options name, and made anew when those have changed."""

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from ringkv.cluster.errors import StartupError


@dataclass(frozen=True, slots=True)
class ServerFiles:
    """PEM files: the certificate with those that lead to its root, its key, and the roots of clients' certificates.

    Without a `key` it is in the certificate's file. With `client_ca` clients need a certificate of these roots.
    """

    certificate: Path
    key: Path | None = None
    client_ca: Path | None = None

    def context(self) -> ssl.SSLContext:
        """Raises StartupError."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION  # which is nothing but work for the server
        _load_certificate(context, self.certificate, self.key)
        if self.client_ca is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            _load_roots(context, self.client_ca)
        return context


@dataclass(frozen=True, slots=True)
class ClientFiles:
    """PEM files: the roots of the servers' certificates, and the client's own certificate and key, if it needs one."""

    ca: Path
    certificate: Path | None = None
    key: Path | None = None

    def context(self) -> ssl.SSLContext:
        """A context that trusts these roots alone, and checks the name in the certificate. Raises StartupError."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        _load_roots(context, self.ca)
        if self.certificate is not None:
            _load_certificate(context, self.certificate, self.key)
        return context


class ServerTls:
    """`context` is for new connections; those that are open keep the one they began with."""

    def __init__(self, files: ServerFiles) -> None:
        """Raises StartupError."""
        self._files = files
        self.context = files.context()

    def reload(self) -> None:
        """Read the files again. Raises StartupError, and then the context stays as it was."""
        self.context = self._files.context()


def _load_certificate(context: ssl.SSLContext, certificate: Path, key: Path | None) -> None:
    def encrypted() -> NoReturn:
        raise StartupError(f"TLS: the key in {key or certificate} is encrypted, and there is nobody to ask; decrypt it")

    for path in (certificate, key or certificate):
        _check_readable(path)
    try:
        context.load_cert_chain(certificate, key, encrypted)
    except ssl.SSLError as error:
        where = f"{certificate}, {key or certificate}"
        raise StartupError(f"TLS: no certificate with its key, both in PEM: {where}") from error


def _load_roots(context: ssl.SSLContext, path: Path) -> None:
    _check_readable(path)
    try:
        context.load_verify_locations(path)
    except ssl.SSLError as error:
        raise StartupError(f"TLS: no certificates in PEM: {path}") from error


def _check_readable(path: Path) -> None:
    """OpenSSL does not say which file it could not read. Raises StartupError."""
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise StartupError(f"TLS: cannot be read: {path}: {error.strerror or error}") from error
