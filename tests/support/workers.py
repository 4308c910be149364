"""The worker processes of a router that has several, as the kernel knows them."""

from contextlib import suppress
from pathlib import Path

from tests.support.processes import SpawnedCluster


def listeners(port: int) -> set[int]:
    """The inodes of the sockets that listen on a port."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {int(line[9]) for line in lines if line[1].endswith(f":{port:04X}") and line[3] == "0A"}


def worker_pids(cluster: SpawnedCluster) -> set[int]:
    """The processes that hold one of the listening sockets; the one that made them holds all."""
    wanted = {f"socket:[{inode}]" for inode in listeners(cluster.port)}
    found = set()
    for pid in cluster.spawned.living():
        with suppress(OSError):
            held = {str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()}
            if len(held & wanted) == 1:
                found.add(pid)
    return found
