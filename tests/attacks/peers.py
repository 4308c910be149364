"""What is attacked: a router and a shard, or others with the same pairs and their defaults, for comparison."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench.peers.nginx import fill
from bench.peers.peer import program
from bench.peers.redis import set_command
from bench.processes import Processes, free_port
from bench.usage import descendants
from tests.attacks.beside import HUGE, KEYS, Attacked, value_of
from tests.support.processes import Spawner, wait_for
from tests.support.resp import Client

MEMORY: Final = "256M"
"""Of the router, and of the shard."""

LIMIT: Final = 3 << 30
"""Bytes of memory that Redis gets, which by default has no bound: it ends there."""

NGINX: Final = """\
user root;
daemon off;
worker_processes auto;
pid {folder}/nginx.pid;
events {{ worker_connections 768; }}
http {{
    access_log off;
    default_type text/plain;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{ set $memcached_key $uri; memcached_pass unix:{folder}/memcached.sock; }}
    }}
}}
"""
"""As Debian has it, but for its folders and the log of accesses."""


def wait_until_read(path: str) -> None:
    """Wait until the shard has read all of its data once: checking a value of 64 MiB takes a while."""
    with socket.socket(socket.AF_UNIX) as connected:
        connected.connect(path)
        client = Client(connected)
        size = sum(len(value_of(key)) for key in KEYS)
        wait_for(lambda: int(client.info()["checked_bytes"]) >= size, "the shard does not read its data")


@contextmanager
def ringkv(folder: Path) -> Iterator[Attacked]:
    spawn = Spawner(folder)
    try:
        data = spawn.directory() / "pairs.data"
        data.write_text("".join(f"{key} {value_of(key)}\n" for key in KEYS))
        shard = spawn.shard(data, "--leased", "--name", "a", "--memory", MEMORY)
        ports = ("--listen", "127.0.0.1:0", "--redis-listen", "127.0.0.1:0")
        router = spawn("router", "--shards", str(shard.address), *ports, "--memory", MEMORY)
        http = int(router.wait_for_line(r"listens on 127\.0\.0\.1:(\d+)")[1])
        redis = int(router.wait_for_line(r"speaks Redis on 127\.0\.0\.1:(\d+)")[1])
        router.wait_for_line(r"topology \d+ in .* 1 shard")
        wait_until_read(shard.socket)
        yield Attacked(http, redis, "http", {"router": [router.pid], "shard": [shard.spawned.pid]})
    finally:
        spawn.close()


@contextmanager
def nginx(folder: Path) -> Iterator[Attacked]:
    """Nginx and one memcached, which takes no value of more than a megabyte."""
    with Processes(folder) as processes:
        folder, port = folder.resolve(), free_port()
        path = folder / "memcached.sock"
        memcached = processes.start("memcached", program("memcached"), "--user", "root", "--unix-socket", path)
        processes.wait_for_socket(path)
        keys = [key for key in KEYS if value_of(key) is not HUGE]
        fill([path], ((0, f"/{key}".encode(), value_of(key).encode()) for key in keys), len(keys))
        configuration = folder / "nginx.conf"
        configuration.write_text(NGINX.format(folder=folder, port=port))
        server = processes.start("nginx", program("nginx"), "-c", configuration, "-e", f"{folder}/error.log")
        processes.wait_for_port(port)
        pids = {"nginx": descendants([server.pid]), "memcached": [memcached.pid]}
        yield Attacked(port, 0, "http", pids)


@contextmanager
def redis(folder: Path) -> Iterator[Attacked]:
    """Redis, which writes nothing to disk, and may not take all of the machine's memory."""
    with Processes(folder) as processes:
        port = free_port()
        command = [
            "prlimit",
            f"--as={LIMIT}",
            program("redis-server"),
            "--port",
            str(port),
            "--save",
            "",
            "--dir",
            str(folder.resolve()),
        ]
        server = processes.start("redis", *command)
        processes.wait_for_port(port)
        load(port)
        yield Attacked(0, port, "redis", {"Redis": [server.pid]})


def load(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        for key in KEYS:
            client.sendall(set_command(key.encode(), value_of(key).encode()))
            assert client.recv(5) == b"+OK\r\n"


PEERS: Final = {"ringkv": ringkv, "nginx + memcached": nginx, "Redis": redis}
"""By name, what starts them in a folder."""

NOT_FOR: Final = {
    "nginx + memcached": {"huge", "batches", "counts"},
    "Redis": {"unread", "bombs"},
}
"""Attacks that are none there: memcached takes no value of 64 MiB, nginx has no request for many keys, and nothing is
counted in a request of HTTP; Redis speaks no HTTP."""
