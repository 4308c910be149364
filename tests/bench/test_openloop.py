"""An open loop tells every wait that a server causes, and what it never answers; peers are asked at the same rates."""

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from bench import client, load
from bench.client import compiled
from bench.data import Data
from bench.figures import RINGKV, Figures
from bench.openloop import PEERS, SHARES, at_fixed_rates, open_loop
from bench.peers.peer import missing
from bench.pictures import write_pictures
from bench.quiet import Quiet
from bench.serving import Scale
from tests.support.processes import short_directory

pytestmark = pytest.mark.skipif(
    not load.installed() or bool(client.missing()), reason=f"needs wrk, {', '.join(client.missing())}"
)

CONNECTIONS = 8
RATE = 400
SECONDS = 1.5
STOPS = 0.5, 1.0
"""Seconds after the first scheduled request between which the server answers nobody."""

HIDDEN = "0" * 36


class Server(ThreadingHTTPServer):
    """Has an answer for each key, but while it stops, and for one key an error."""

    request_queue_size = 2 * CONNECTIONS

    def __init__(self, *, last: int) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.last, self.numbers, self.begun = last, count(1), 0.0


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        number = next(self.server.numbers)
        if number == CONNECTIONS:
            self.server.begun = time.monotonic()
        if number > self.server.last:
            self.close_connection = True
            return
        at = time.monotonic() - self.server.begun
        if STOPS[0] <= at < STOPS[1] and self.server.begun:
            time.sleep(STOPS[1] - at)
        self.send_response(404 if self.path == f"/{HIDDEN}" else 200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"a\r\n\0b")

    def log_message(self, *_args: object) -> None:
        """Say nothing."""


@contextmanager
def serving(last: int = 1_000_000) -> Iterator[int]:
    with Server(last=last) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def told(folder: Path, port: int, keys: str) -> dict[str, Any]:
    (folder / "keys").write_text(keys)
    asked = (compiled("openloop", folder), RATE, CONNECTIONS, SECONDS, 1, port, folder / "keys", "/", "")
    done = subprocess.run([*map(str, asked)], capture_output=True, check=True, timeout=60)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_who_was_due_while_the_server_stopped_has_waited_for_it(tmp_path: Path) -> None:
    with serving() as port:
        found = told(tmp_path, port, f"{'1' * 36}\n")
    assert found["requests"] == RATE * SECONDS
    # A third of the requests was due while it stopped. Those that had been sent were as many as there are connections.
    stopped = STOPS[1] - STOPS[0]
    assert found["p999"] >= found["p99"] > 0.9 * stopped
    assert found["p50"] < found["p99"]
    assert found["status"] == found["broken"] == 0


def test_what_is_no_value_is_counted(tmp_path: Path) -> None:
    with serving() as port:
        found = told(tmp_path, port, f"{'1' * 36}\n{HIDDEN}\n")
    assert 0.3 < found["status"] / found["requests"] < 0.7
    assert found["broken"] == 0


def test_what_has_no_answer_is_counted(tmp_path: Path) -> None:
    with serving(last=100) as port:
        found = told(tmp_path, port, f"{'1' * 36}\n")
    assert found["requests"] <= 100 - CONNECTIONS
    assert found["broken"] > 0


def test_peers_are_measured_at_the_same_rates(tiny: Data, tmp_path: Path) -> None:
    figures = Figures()
    with short_directory() as folder:
        open_loop(tiny, Scale(rounds=1, seconds=1), folder, Quiet(0), figures)
    subjects = [peer.name for peer in PEERS if not missing(peer)]
    for share in SHARES:
        for subject in subjects:
            p50, p99, p999 = (figures.median(subject, f"open {name}", share) or 0 for name in ("p50", "p99", "p999"))
            assert 0 < p50 <= p99 <= p999
            assert figures.median(subject, "open failed", share) == 0
            asked = figures.median(RINGKV, "open asked", share) or 0
            assert 10 < (figures.median(subject, "open rate", share) or 0) < 1.05 * asked
    assert [row[0] for row in at_fixed_rates(figures)[1:]] == subjects * len(SHARES)
    assert "open" in write_pictures(figures, tmp_path)
