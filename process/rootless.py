"""aiohttp, imported without the certificates of all authorities that the system trusts.

aiohttp makes the context of its client's TLS as it is imported, for which OpenSSL reads every one of them: a tenth of
the time in which a shard and a router are imported. No process here is a client of aiohttp. Whoever imports this first,
imports aiohttp so; where links or clients speak TLS, contexts are made of their own.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def _trusting_nobody() -> Iterator[None]:
    """Let OpenSSL's variables name no certificates."""
    names = "SSL_CERT_FILE", "SSL_CERT_DIR"
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, os.devnull))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


with _trusting_nobody():
    import aiohttp  # noqa: F401 - this is what the module is for
