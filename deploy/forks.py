"""The fork servers of `ringkv up`: one for its shards, and one for its router, which need other code."""

from importlib import import_module
from typing import Final

from ringkv.process.forking import CHILDREN, ForkServer, fork_server, forking
from ringkv.router.workers import PRELOAD

SHARD: Final = *CHILDREN, "ringkv.shard.server", "ringkv.dataset.local_objects"
"""What shards need, and most of which this process needs too; they follow a catalog in a folder."""


def fork_servers() -> ForkServer:
    """Start both from this process, which runs nothing yet. Returns the router's; `fork_server` is that of shards.

    Both imports go on at the same time: the router's in its server, and that of shards here. Raises StartupError.
    """
    with forking():
        routers = ForkServer(*PRELOAD)
        for module in SHARD:
            import_module(module)
        fork_server(*SHARD)
    return routers
