"""Who publishes where nobody is named: apart from the command lines, as programs and `ringkv up` publish too."""

import getpass
import os
import socket

from ringkv.cluster.lease import MAX_BY


def user() -> str:
    """The user and host of this process, as `--by` has them by default."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = str(os.getuid())
    said = f"{name}@{socket.gethostname()}"
    # A catalog whose text has what is no character, or another line, would be none to whoever reads it.
    return "".join(letter if letter.isprintable() else "?" for letter in said)[:MAX_BY]
