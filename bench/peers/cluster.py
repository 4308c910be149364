"""A Redis Cluster of three masters, filled by the slots of the keys."""

from pathlib import Path
from typing import Any, Final

from redis import Redis

from bench.data import Data
from bench.errors import BenchmarkFailed
from bench.peers.peer import program
from bench.peers.redis import set_command
from bench.processes import Processes, run
from ringkv.cluster.nodes import key_slot
from ringkv.cluster.position import SLOTS
from ringkv.process.address import reserved_ports

MASTERS: Final = 3


class RedisCluster:
    name = "Redis Cluster"
    setup = (
        "three masters on the loopback interface, each with a third of the slots; no persistence, no threads for I/O"
    )

    def start(self, data: Data, processes: Processes) -> int:
        """The port of one of its nodes, once all of them serve all pairs. Raises BenchmarkFailed."""
        with reserved_ports(0, 2 * MASTERS) as addresses:
            ports = [address.port or 0 for address in addresses]
            nodes, buses = ports[:MASTERS], ports[MASTERS:]
            for port, bus in zip(nodes, buses, strict=True):
                settings = {
                    "port": port,
                    "bind": "127.0.0.1",
                    "dir": processes.folder,
                    "save": "",
                    "appendonly": "no",
                    "cluster-enabled": "yes",
                    "cluster-port": bus,
                    "cluster-config-file": f"{port}.conf",
                }
                options = [part for name, value in settings.items() for part in (f"--{name}", str(value))]
                processes.start(f"redis-{port}", program("redis-server"), *options)
            for port in nodes:
                processes.wait_for_port(port)
        clients: list[Any] = [Redis(port=port) for port in nodes]
        bounds = [SLOTS * number // MASTERS for number in range(MASTERS + 1)]
        for client, first, behind in zip(clients, bounds[:-1], bounds[1:], strict=True):
            client.execute_command("CLUSTER ADDSLOTSRANGE", first, behind - 1)
            client.execute_command("CLUSTER MEET", "127.0.0.1", nodes[0], buses[0])
        processes.wait_for(lambda: all(map(_is_whole, clients)), "the Redis Cluster is not whole")
        _fill(data, nodes, bounds, processes.folder)
        if (held := sum(client.dbsize() for client in clients)) != data.pairs:
            raise BenchmarkFailed(f"the Redis Cluster holds {held} of {data.pairs} pairs")
        for client in clients:
            client.close()
        return nodes[0]


def _is_whole(client: Any) -> bool:
    told: dict[str, str] = client.execute_command("CLUSTER INFO")
    return told["cluster_state"] == "ok" and told["cluster_known_nodes"] == str(MASTERS)


def _fill(data: Data, nodes: list[int], bounds: list[int], folder: Path) -> None:
    owners = [number for number in range(MASTERS) for _ in range(bounds[number], bounds[number + 1])]
    paths = [folder / f"{port}.resp" for port in nodes]
    files = [path.open("wb") for path in paths]
    for key, value in data.lines():
        files[owners[key_slot(key)]].write(set_command(key, value))
    for port, path, file in zip(nodes, paths, files, strict=True):
        file.close()
        run(program("redis-cli"), "-p", str(port), "--pipe", source=path)
        path.unlink()
