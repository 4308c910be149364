"""The certificate of whoever is measured with TLS: all have one of the same kind."""

from pathlib import Path
from typing import Final

from bench.processes import run

KIND: Final = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=localhost")


def certify(folder: Path) -> Path:
    """A file of PEM in the folder: a certificate that nobody else has signed, and its key."""
    made = folder.resolve() / "certificate.pem"
    run("openssl", "req", "-x509", *KIND, "-days", "2", "-keyout", made, "-out", folder / "signed.pem")
    made.write_bytes(made.read_bytes() + (folder / "signed.pem").read_bytes())
    return made
