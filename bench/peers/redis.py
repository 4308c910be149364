"""Redis behind webdis, the HTTP server for it; and how Redis is filled."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

from bench.data import Data
from bench.errors import BenchmarkFailed
from bench.load import Endpoint
from bench.peers.peer import program
from bench.processes import Processes, free_port, run


class WebdisRedis:
    name = "webdis + Redis"
    setup = "Redis over a Unix socket, no persistence; webdis with two threads and 20 connections each, no log"
    needs: Mapping[str, str] = {"webdis": "webdis", "redis-server": "redis-server", "redis-cli": "redis-tools"}

    def start(self, data: Data, processes: Processes) -> Endpoint:
        path = start_redis(processes)
        fill(path, as_resp(data), data.pairs)
        port = free_port()
        configuration = processes.folder / "webdis.json"
        settings = {
            "redis_host": str(path),
            "redis_port": 0,
            "redis_auth": None,
            "http_host": "127.0.0.1",
            "http_port": port,
            "http_threads": 2,
            "threads": 2,
            "pool_size": 20,
            "daemonize": False,
            "websockets": False,
            "database": 0,
            "verbosity": 0,
            "logfile": "/dev/null",
        }
        configuration.write_text(json.dumps(settings))
        processes.start("webdis", program("webdis"), configuration)
        processes.wait_for_port(port)
        return Endpoint(port, "/GET/", ".txt")


def start_redis(processes: Processes) -> Path:
    """The Unix socket of an empty Redis that writes nothing to disk."""
    path = processes.folder.resolve() / "redis.sock"
    command = [program("redis-server"), "--port", "0", "--unixsocket", str(path), "--save", "", "--appendonly", "no"]
    processes.start("redis", *command, "--dir", processes.folder.resolve())
    processes.wait_for_socket(path)
    return path


def as_resp(data: Data) -> Path:
    """The pairs as SET commands, the form that `redis-cli --pipe` reads; made once."""
    path = data.text.with_suffix(".resp")
    if not path.exists():
        building = path.with_suffix(".new")
        with building.open("wb") as file:
            file.writelines(set_command(key, value) for key, value in data.lines())
        building.rename(path)
    return path


def set_command(key: bytes, value: bytes) -> bytes:
    return b"*3\r\n$3\r\nSET\r\n$36\r\n%b\r\n$%d\r\n%b\r\n" % (key, len(value), value)


def fill(path: Path, commands: Path, count: int) -> float:
    """`redis-cli --pipe`: its seconds. Raises BenchmarkFailed when not all is there."""
    seconds = run(program("redis-cli"), "-s", path, "--pipe", source=commands)
    if int(ask(path, "DBSIZE")) != count:
        raise BenchmarkFailed(f"Redis holds {ask(path, 'DBSIZE')} of {count} pairs")
    return seconds


def ask(path: Path, *command: str) -> str:
    """What redis-cli prints for a command."""
    done = subprocess.run(
        [program("redis-cli"), "-s", str(path), *command], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.strip()


def info(path: Path, section: str) -> dict[str, str]:
    """A section of Redis's INFO."""
    lines = ask(path, "INFO", section).splitlines()
    return dict(line.strip().split(":", 1) for line in lines if ":" in line)
