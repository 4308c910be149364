"""Certificates for tests, made by openssl as an operator would make them."""

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Certificate:
    certificate: Path
    key: Path

    @property
    def options(self) -> tuple[str, ...]:
        return "--tls-cert", str(self.certificate), "--tls-key", str(self.key)


class Authority:
    """Roots of a kind of their own, in a folder, and certificates of it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self._root = self._signed("root", "/CN=root", "-addext", "basicConstraints=critical,CA:TRUE")
        self.roots = self._root.certificate

    def issue(self, name: str, subject: str = "DNS:localhost,IP:127.0.0.1") -> Certificate:
        """A certificate for this host."""
        by = ("-CA", str(self._root.certificate), "-CAkey", str(self._root.key))
        return self._signed(name, f"/CN={name}", "-addext", f"subjectAltName={subject}", *by)

    def trusting(self, own: Certificate | None = None) -> ssl.SSLContext:
        """A client's context."""
        context = ssl.create_default_context(cafile=str(self.roots))
        if own is not None:
            context.load_cert_chain(own.certificate, own.key)
        return context

    def _signed(self, name: str, subject: str, *more: str) -> Certificate:
        made = Certificate(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        new = (
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
        )
        files = ("-keyout", str(made.key), "-out", str(made.certificate))
        subprocess.run([*new, "-subj", subject, *files, *more], check=True, capture_output=True)
        return made
