"""Batches are measured beside single requests, and only if their answers are the data file's own lines."""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from bench import load
from bench.data import Data
from bench.errors import BenchmarkFailed
from bench.figures import Figures
from bench.load import Endpoint
from bench.mget import BATCHES, SINGLES, batches, check
from bench.quiet import Quiet
from bench.serving import Scale
from tests.support.processes import short_directory


@pytest.mark.skipif(not load.installed(), reason="needs wrk")
def test_batches_are_measured_beside_single_requests(tiny: Data) -> None:
    figures = Figures()
    with short_directory() as folder:
        batches(tiny, Scale(rounds=1, seconds=1), folder, Quiet(0), figures)
    for subject in (SINGLES, BATCHES):
        assert (figures.median(subject, "keys a second") or 0) > 100
        assert 0 < (figures.median(subject, "cpu a key") or 0) < 0.1
        assert figures.median(subject, "failed batches") == 0


def test_a_wrong_answer_is_not_measured(tiny: Data) -> None:
    class Wrong(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"something else\n")

        def log_message(self, *_args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Wrong) as server:
        Thread(target=server.serve_forever, args=(0.05,)).start()
        with pytest.raises(BenchmarkFailed, match="instead of the data file's lines"):
            check(Endpoint(server.server_address[1]), tiny, 10)
        server.shutdown()
