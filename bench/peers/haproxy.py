"""HAProxy in front of this project's own shards: what their HTTP ports and a good load balancer would be alone."""

import re
import sys
from collections.abc import Mapping
from typing import Final

from bench.data import Data
from bench.load import Endpoint
from bench.peers.peer import program
from bench.processes import Processes, free_port

SERVERS: Final = 3

CONFIGURATION: Final = """\
global
    maxconn 8192
    # As many threads as processors, which is the default.
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    option http-keep-alive
    http-reuse always
frontend keys
    bind 127.0.0.1:{port}
    default_backend shards
backend shards
    balance uri
    hash-type consistent
{servers}
"""


class HaproxyShards:
    name = "HAProxy + 3 shards"
    setup = (
        "`balance uri`, `hash-type consistent`, `http-reuse always`, Unix sockets to the HTTP ports (aiohttp) "
        "of three `ringkv shard` that hold everything"
    )
    needs: Mapping[str, str] = {"haproxy": "haproxy"}

    def start(self, data: Data, processes: Processes) -> Endpoint:
        folder = processes.folder.resolve()
        sockets = [folder / f"http-{number}.sock" for number in range(1, SERVERS + 1)]
        for number, path in enumerate(sockets, 1):
            command = [sys.executable, "-m", "ringkv", "shard", str(data.packed), "--name", f"shard-{number}"]
            listen = ["--listen", f"unix:{folder}/resp-{number}.sock", "--http", f"unix:{path}"]
            processes.start(f"shard-{number}", *command, *listen)
        for number in range(1, SERVERS + 1):
            log = folder / f"shard-{number}.log"
            processes.wait_for(lambda log=log: re.search("ready on", log.read_text()), "a shard did not start")  # type: ignore[misc]
        servers = "\n".join(f"    server shard-{number} unix@{path}" for number, path in enumerate(sockets, 1))
        port = free_port()
        configuration = folder / "haproxy.cfg"
        configuration.write_text(CONFIGURATION.format(port=port, servers=servers))
        processes.start("haproxy", program("haproxy"), "-f", configuration)
        processes.wait_for_port(port)
        return Endpoint(port)
