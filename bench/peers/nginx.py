"""nginx in front of three memcached with consistent hashing, and nginx alone as the floor under any HTTP server."""

import os
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from bench.data import Data
from bench.errors import BenchmarkFailed
from bench.load import Endpoint
from bench.peers.certificate import certify
from bench.peers.ketama import Ketama
from bench.peers.peer import program
from bench.processes import Processes, free_port

SERVERS: Final = 3
BLOCK: Final = 1 << 20

SETTLED: Final = 10.0
"""Seconds after which all that was sent to a memcached is in its counts."""

# Requests a connection: by default nginx closes it after 1,000, which no load balancer in front would want.
CONFIGURATION: Final = """\
{user}
daemon off;
worker_processes auto;
pid {folder}/nginx.pid;
error_log {folder}/error.log crit;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    default_type text/plain;
    keepalive_requests 1000000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {http}
    server {{
        listen 127.0.0.1:{port}{secured};
        location / {{ {location} }}
    }}
}}
"""

UPSTREAM: Final = """upstream shards {{
        hash $memcached_key consistent;
        {servers}
        keepalive 256;
        keepalive_requests 1000000000;
    }}"""


class NginxMemcached:
    name = "nginx + 3 memcached"
    setup = (
        "`worker_processes auto`, `hash $memcached_key consistent`, `memcached_pass` over Unix sockets, "
        "256 idle connections kept to the upstream, no access log; each memcached with one thread"
    )
    needs: Mapping[str, str] = {"nginx": "nginx-light", "memcached": "memcached"}
    certified = False

    def __init__(self, *directives: str) -> None:
        self._directives = directives

    def start(self, data: Data, processes: Processes) -> Endpoint:
        sockets = start_memcached(processes, SERVERS)
        ring = Ketama(sockets)
        # The key is the URI, so that nginx has nothing to cut off.
        fill(sockets, ((ring.server(b"/" + key), b"/" + key, value) for key, value in data.lines()), data.pairs)
        servers = "\n        ".join(f"server unix:{path};" for path in sockets)
        location = " ".join([*self._directives, "set $memcached_key $uri; memcached_pass shards;"])
        certificate = certify(processes.folder) if self.certified else None
        return start_nginx(processes, UPSTREAM.format(servers=servers), location, certificate)


class SecuredNginxMemcached(NginxMemcached):
    name = "nginx + 3 memcached, TLS"
    setup = f"{NginxMemcached.setup}; `listen … ssl`, its defaults"
    needs: Mapping[str, str] = {**NginxMemcached.needs, "openssl": "openssl"}
    certified = True


class NginxReturn:
    name = "nginx return 200"
    setup = "the floor: `worker_processes auto`, one fixed answer of 60 bytes, nothing looked up"
    needs: Mapping[str, str] = {"nginx": "nginx-light"}

    def start(self, data: Data, processes: Processes) -> Endpoint:
        del data
        endpoint = start_nginx(processes, "", f'return 200 "{"x" * 60}";')
        return Endpoint(endpoint.port, exact=False)


def start_nginx(processes: Processes, http: str, location: str, certificate: Path | None = None) -> Endpoint:
    folder, port = processes.folder.resolve(), free_port()
    # As root its workers would run as a user that may not open the sockets.
    user = "user root;" if os.geteuid() == 0 else ""
    secured = ""
    if certificate is not None:
        secured = f" ssl;\n        ssl_certificate {certificate};\n        ssl_certificate_key {certificate}"
    configuration = folder / "nginx.conf"
    configuration.write_text(
        CONFIGURATION.format(user=user, folder=folder, port=port, secured=secured, http=http, location=location)
    )
    processes.start("nginx", program("nginx"), "-p", folder, "-c", configuration, "-e", f"{folder}/error.log")
    processes.wait_for_port(port)
    return Endpoint(port, scheme="https" if certificate else "http")


def start_memcached(processes: Processes, count: int) -> list[Path]:
    """The Unix sockets of `count` empty memcached."""
    sockets = [processes.folder.resolve() / f"memcached-{number}.sock" for number in range(1, count + 1)]
    user = ["--user", "root"] if os.geteuid() == 0 else []
    for number, path in enumerate(sockets, 1):
        command = [program("memcached"), *user, "--unix-socket", str(path), "--threads", "1"]
        processes.start(f"memcached-{number}", *command, "--memory-limit", "4096", "--conn-limit", "4096")
    for path in sockets:
        processes.wait_for_socket(path)
    return sockets


def fill(sockets: list[Path], pairs: Iterable[tuple[int, bytes, bytes]], count: int) -> None:
    """Store (server, key, value) and check that all of them are there. Raises BenchmarkFailed."""
    connections = [socket.socket(socket.AF_UNIX) for _ in sockets]
    try:
        for connection, path in zip(connections, sockets, strict=True):
            connection.connect(str(path))
        for server, block in _blocks(pairs, len(sockets)):
            connections[server].sendall(block)
        until = time.monotonic() + SETTLED
        # An item on its way to a file is in no count for a moment.
        while (stored := sum(map(_items, connections))) != count and time.monotonic() < until:
            time.sleep(0.1)
    finally:
        for connection in connections:
            connection.close()
    if stored != count:
        raise BenchmarkFailed(f"memcached stored {stored} of {count} pairs")


def _blocks(pairs: Iterable[tuple[int, bytes, bytes]], servers: int) -> Iterator[tuple[int, bytearray]]:
    blocks = [bytearray() for _ in range(servers)]
    for server, key, value in pairs:
        blocks[server] += b"set %b 0 0 %d noreply\r\n%b\r\n" % (key, len(value), value)
        if len(blocks[server]) > BLOCK:
            yield server, blocks[server]
            blocks[server] = bytearray()
    yield from enumerate(blocks)


def _items(connection: socket.socket) -> int:
    """How many items the server has, once it has stored all that was sent before."""
    connection.sendall(b"stats\r\n")
    answer = b""
    while not answer.endswith(b"END\r\n"):
        received = connection.recv(1 << 16)
        if not received:
            raise BenchmarkFailed(f"memcached closed the connection: {answer[-200:]!r}")
        answer += received
    return int(answer.partition(b"STAT curr_items ")[2].split()[0])
