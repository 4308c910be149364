"""A real HAProxy in front of what a test serves."""

import os
import shutil
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.processes import PATIENCE

Haproxy = Callable[[Path, str], int]
"""Starts one with a folder of its own and the lines of its `listen` section; returns the port it listens on."""


class Haproxies:
    """All that a test has started."""

    def __init__(self) -> None:
        self._running: list[subprocess.Popen[bytes]] = []

    def __call__(self, folder: Path, section: str) -> int:
        program = shutil.which("haproxy")
        if program is None:
            if os.environ.get("CI") == "true":
                pytest.fail("haproxy is not installed, and CI must not skip its tests")
            pytest.skip("haproxy is not installed")
        # HAProxy takes over a socket that listens already: nobody else can be given its port meanwhile.
        listening = socket.create_server(("127.0.0.1", 0))
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "haproxy.cfg"
        config.write_text(
            f"global\n maxconn 200\n stats socket {folder}/stats.sock\n"
            "defaults\n timeout connect 5s\n timeout client 30s\n timeout server 30s\n"
            f"listen front\n bind fd@{listening.fileno()}\n {section}"
        )
        log = (folder / "haproxy.log").open("wb")
        self._running.append(
            subprocess.Popen([program, "-db", "-f", str(config)], pass_fds=[listening.fileno()], stdout=log, stderr=log)
        )
        port = int(listening.getsockname()[1])
        listening.close()
        log.close()
        return port

    def end(self) -> None:
        for process in self._running:
            process.kill()
            process.wait(PATIENCE)


def check_of(folder: Path) -> str:
    """What the HAProxy of this folder has found of its server `r`: its state, the kind of check, the status it got."""
    with socket.socket(socket.AF_UNIX) as asking:
        try:
            asking.connect(f"{folder}/stats.sock")
        except OSError:
            return "not started"
        asking.sendall(b"show stat\n")
        head, *rows = b"".join(iter(lambda: asking.recv(1 << 16), b"")).decode().splitlines()
    [row] = [row.split(",") for row in rows if row.startswith("front,r,")]
    found = dict(zip(head.removeprefix("# ").split(","), row, strict=True))
    return f"{found['status']} {found['check_status']} {found['check_code']}"
