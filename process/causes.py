"""Why a connection failed, or the resolution of a name, in words: apart from words.py, since it loads ssl."""

import os
import re
import socket
import ssl


def in_words(error: OSError) -> str:
    """What the system says of a connection or a name: `connection refused`, and no number.

    A name of several addresses, as localhost may be, fails in several ways; asyncio puts their numbers into its text.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"no TLS: {(error.reason or str(error)).lower().replace('_', ' ')}"
    if isinstance(error, socket.gaierror):
        return str(error.strerror).lower()
    numbers = [error.errno] if error.errno else map(int, re.findall(r"\[Errno (\d+)]", str(error)))
    return ", ".join(sorted({os.strerror(number).lower() for number in numbers})) or str(error)
