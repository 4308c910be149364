"""The fork servers of `ringkv up`: one for its shards, and one for its router, which need other code."""

from importlib import import_module
from typing import Final

from ringkv.process.forking import CHILDREN, ForkServer, end_by_sigterm, fork_server, forking
from ringkv.router.workers import PRELOAD

ALL: Final = "ringkv.process.words"
"""What this process and both servers need."""

OWN: Final = "ringkv.dataset.catalog", "ringkv.dataset.local_objects", "ringkv.shard.settings"
"""What this process and shards need, and what takes longest: the dataset, with NumPy and Arrow."""

SHARD: Final = *CHILDREN, *OWN, "ringkv.shard.server"
"""What shards need; they follow a catalog in a folder."""


def fork_servers() -> ForkServer:
    """Start both from this process, which runs nothing yet. Returns the router's; `fork_server` is that of shards.

    All is imported side by side: by the router's server, by this process, and in the end by the server of shards, which
    begins with what was imported here. From here on SIGTERM removes their sockets. Raises StartupError.
    """
    end_by_sigterm()
    import_module(ALL)
    with forking():
        routers = ForkServer(*PRELOAD)
        for module in OWN:
            import_module(module)
        fork_server(*SHARD)
    return routers
