"""What the installed commands read from files for a client: a token, and certificates for TLS."""

import os
import ssl
from pathlib import Path
from typing import NoReturn

from ringkv.client.get import TOKEN_VARIABLE, ClientError, InvalidToken


class InvalidCertificates(ClientError):
    """A file has no usable certificates, or no usable key."""


def find_token(path: str | None) -> str:
    """The first token of a file that has one a line; without a file $RINGKV_TOKEN, or "". Raises InvalidToken."""
    if path is None:
        return os.environ.get(TOKEN_VARIABLE, "")
    try:
        lines = [line.strip() for line in Path(path).read_text("utf-8", "replace").splitlines()]
    except OSError as error:
        raise InvalidToken(f"no token can be read: {path}: {error.strerror or error}") from error
    tokens = [line for line in lines if line and not line.startswith("#")]
    if not tokens:
        raise InvalidToken(f"there is no token in {path}")
    return tokens[0]


def tls_context(ca: str | None, certificate: str | None, key: str | None) -> ssl.SSLContext | None:
    """A context that trusts the roots in `ca`, else the system's, and shows this certificate, if any; all PEM files.

    Without a `key` it is in the certificate's file. Without any file there is no context. Raises InvalidCertificates.
    """
    if key and not certificate:
        raise InvalidCertificates("--cert-key needs --cert")
    if not (ca or certificate):
        return None
    for path in filter(None, (ca, certificate, key)):  # OpenSSL does not say which it could not read
        try:
            Path(path).read_bytes()
        except OSError as error:
            raise InvalidCertificates(f"no certificates can be read: {path}: {error.strerror or error}") from error
    try:
        context = ssl.create_default_context(cafile=ca)
    except ssl.SSLError as error:
        raise InvalidCertificates(f"no certificates in PEM: {ca}") from error
    if certificate:
        _load(context, certificate, key or certificate)
    return context


def _load(context: ssl.SSLContext, certificate: str, key: str) -> None:
    def encrypted() -> NoReturn:
        raise InvalidCertificates(f"the key in {key} is encrypted, and nobody is asked for it: decrypt it")

    try:
        context.load_cert_chain(certificate, key, encrypted)
    except ssl.SSLError as error:
        raise InvalidCertificates(f"no certificate with its key, both in PEM: {certificate}, {key}") from error
