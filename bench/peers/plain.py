"""What a person would write first, in aiohttp: one process with a dict, and the obvious proxy before three of them."""

import sys
from collections.abc import Mapping
from typing import Final

from bench.data import Data
from bench.load import Endpoint
from bench.processes import Processes, free_port

SERVERS: Final = 3


class AiohttpDict:
    name = "one aiohttp, a dict"
    setup = "`bench/peers/dict_server.py`: one process, the file in a dict, uvloop"
    needs: Mapping[str, str] = {}

    def start(self, data: Data, processes: Processes) -> Endpoint:
        port = free_port()
        command = [sys.executable, "-m", "bench.peers.dict_server", "--uvloop", str(data.text), str(port)]
        processes.start("server", *command)
        processes.wait_for_port(port)
        return Endpoint(port)


class AiohttpProxy:
    name = "aiohttp proxy + 3 aiohttp"
    setup = "`bench/peers/proxy_server.py`: uhashring and a ClientSession before three `dict_server.py`"
    needs: Mapping[str, str] = {}

    def start(self, data: Data, processes: Processes) -> Endpoint:
        shards = [free_port() for _ in range(SERVERS)]
        for number, port in enumerate(shards, 1):
            part = ["--shards", ",".join(map(str, shards))]
            command = [sys.executable, "-m", "bench.peers.dict_server", *part, str(data.text), str(port)]
            processes.start(f"shard-{number}", *command)
        for port in shards:
            processes.wait_for_port(port)
        front = free_port()
        processes.start("proxy", sys.executable, "-m", "bench.peers.proxy_server", str(front), *map(str, shards))
        processes.wait_for_port(front)
        return Endpoint(front)
