"""All attacks, each by itself and all at once, on ringkv, on nginx + memcached and on Redis, as rows of Markdown.

python -m tests.attacks SECONDS         for so long each; minutes
"""

import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from bench.processes import free_port
from tests.attacks.attacks import ATTACKS
from tests.attacks.beside import KEYS, Attacked, Outcome, anonymous, beside, value_of
from tests.support.processes import Spawned, Spawner, wait_for
from tests.support.resp import command

MEMORY: Final = "256M"

NGINX: Final = """daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log crit; worker_processes auto;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{ set $memcached_key $uri; memcached_pass 127.0.0.1:{memcached}; }}
    }}
}}
"""


def ringkv(spawn: Spawner) -> Attacked:
    data = spawn.directory() / "pairs.data"
    data.write_text("".join(f"{key} {value_of(key)}\n" for key in KEYS))
    shard = spawn.shard(data, "--leased", "--name", "a", "--memory", MEMORY)
    ports = ("--listen", "127.0.0.1:0", "--redis-listen", "127.0.0.1:0")
    router = spawn("router", "--shards", str(shard.address), *ports, "--memory", MEMORY)
    http = int(router.wait_for_line(r"listens on 127\.0\.0\.1:(\d+)")[1])
    redis = int(router.wait_for_line(r"speaks Redis on 127\.0\.0\.1:(\d+)")[1])
    router.wait_for_line(r"topology \d+ in .* 1 shard")
    return Attacked(http, redis, "http", {"router": [router.pid], "shard": [shard.spawned.pid]})


def redis(spawn: Spawner) -> Attacked:
    port = free_port()
    server = spawn.run("redis-server", "--port", str(port), "--dir", spawn.directory())
    with _connected(port) as client:
        for key in KEYS:
            client.sendall(command("SET", key, value_of(key)))
            assert client.recv(64) == b"+OK\r\n"
    return Attacked(0, port, "redis", {"redis-server": [server.pid]})


def nginx(spawn: Spawner) -> Attacked:
    folder, port, memcached = spawn.directory(), free_port(), free_port()
    folder.chmod(0o755)
    cache = spawn.run("memcached", "-l", "127.0.0.1", "-p", str(memcached), "-u", "nobody")
    with _connected(memcached) as client:
        for key in KEYS:
            client.sendall(b"set /%b 0 0 %d\r\n%b\r\n" % (key.encode(), len(value_of(key)), value_of(key).encode()))
            assert client.recv(64) == b"STORED\r\n"
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=port, memcached=memcached))
    server = spawn.run("nginx", "-c", str(folder / "nginx.conf"))
    _connected(port).close()
    return Attacked(port, 0, "http", {"nginx": _family(server), "memcached": [cache.pid]})


def _connected(port: int) -> socket.socket:
    def connect() -> socket.socket | None:
        try:
            return socket.create_connection(("127.0.0.1", port))
        except OSError:
            return None

    return wait_for(connect)


def _family(server: Spawned) -> list[int]:
    return wait_for(lambda: living if len(living := server.living()) > 1 else None)


def row(attacks: list[str], outcome: Outcome, start: dict[str, int]) -> str:
    name = attacks[0] if len(attacks) == 1 else "all at once"
    memory = ", ".join(f"{process} {start[process] >> 20} → {most >> 20}" for process, most in outcome.memory.items())
    return f"| {name} | {outcome.failures} of {outcome.requests} | {outcome.p50:.1f} | {outcome.p99:.1f} | {memory} |"


@contextmanager
def started(start: Callable[[Spawner], Attacked]) -> Iterator[Attacked]:
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        spawner = Spawner(Path(folder))
        stack.callback(spawner.close)
        yield start(spawner)


def main(seconds: float) -> None:
    for start in (ringkv, nginx, redis):
        sys.stdout.write(
            f"\n{start.__name__}\n| attack | failures | p50 ms | p99 ms | memory, MiB |\n|---|---|---|---|---|\n"
        )
        for attacks in [*([name] for name in ATTACKS), list(ATTACKS)]:
            with started(start) as attacked:
                before = {name: anonymous(pids) for name, pids in attacked.processes.items()}
                sys.stdout.write(row(attacks, beside(attacked, attacks, seconds), before) + "\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main(float(sys.argv[1]))
