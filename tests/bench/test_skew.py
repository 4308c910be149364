"""Keys are drawn as they are said to be, and routers with hot values are measured beside one without, and nginx."""

import json
import subprocess
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from bench import load
from bench.data import Data
from bench.figures import RINGKV, Figures
from bench.load import SCRIPT, Draw
from bench.peers.peer import missing
from bench.quiet import Quiet
from bench.serving import Scale
from bench.skew import DRAWS, NGINX, WITHOUT, by_draw, skew
from tests.support.processes import short_directory

pytestmark = pytest.mark.skipif(not load.installed(), reason="needs wrk")

KEYS = 1000


@pytest.mark.parametrize(
    ("draw", "first", "hundred"),
    [("one", 1.0, 1.0), ("even", 0.001, 0.1), ("zipf", 0.126, 0.66)],
)
def test_keys_come_as_often_as_the_draw_says(tmp_path: Path, draw: Draw, first: float, hundred: float) -> None:
    asked: Counter[str] = Counter()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked[self.path] += 1
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_args: object) -> None:
            """Say nothing."""

    keys = tmp_path / "keys"
    keys.write_text("".join(f"{number}\n" for number in range(KEYS)))
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        url = f"http://127.0.0.1:{server.server_port}/"
        command = ["wrk", "-t1", "-c1", "-d2s", "-s", str(SCRIPT), url, "--", str(keys), "/a/", "/z", "1", draw]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
        server.shutdown()
        serving.join()
    assert json.loads(done.stdout.splitlines()[-1])["status"] == 0
    count = sum(asked.values())
    assert set(asked) <= {f"/a/{number}/z" for number in range(KEYS)}
    assert asked["/a/0/z"] / count == pytest.approx(first, rel=0.2, abs=0.01)
    assert sum(asked[f"/a/{number}/z"] for number in range(100)) / count == pytest.approx(hundred, rel=0.15)


def test_each_draw_is_measured_with_hot_values_and_without(tiny: Data) -> None:
    figures = Figures()
    with short_directory() as folder:
        skew(tiny, Scale(rounds=1, seconds=1), folder, Quiet(0), figures)
    subjects = [RINGKV, WITHOUT, *([] if missing(NGINX) else [NGINX.name])]
    for draw in DRAWS:
        for subject in subjects:
            assert (figures.median(subject, f"rate {draw}") or 0) > 100
            assert figures.median(subject, f"failed {draw}") == 0
    assert [row[:2] for row in by_draw(figures)[1:]] == [(text, who) for text in DRAWS.values() for who in subjects]
