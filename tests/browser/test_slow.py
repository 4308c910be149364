"""The page over a slow line: what takes its time is waited for, and holds up nothing else."""

import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from playwright.sync_api import expect

from tests.browser.page import KEY, Visiting, hold, look_up, url_of, value
from tests.support.data import EXAMPLE
from tests.support.processes import Spawner, wait_for

SLOW = "/history"
PIECES = 9
PAUSE = 0.5
"""Seconds between two pieces of the slow answer: it takes longer than the page waits where nothing comes at all."""


@pytest.fixture(scope="module")
def url(module_spawn: Spawner) -> str:
    return url_of(module_spawn.up(EXAMPLE, "--shards", "2"))


@pytest.fixture
def slow(url: str) -> Iterator[str]:
    """A proxy before the router, over which the hour of samples comes piece by piece."""

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            request = urllib.request.Request(f"{url}{self.path}", headers={"Accept": self.headers["Accept"]})
            with urllib.request.urlopen(request, timeout=20) as answer:
                body = answer.read()
                self.send_response(answer.status)
                for name in ("Content-Type", "Content-Length", "Content-Security-Policy"):
                    if name in answer.headers:
                        self.send_header(name, answer.headers[name])
            self.end_headers()
            pieces = PIECES if self.path.startswith(SLOW) else 1
            size = len(body) // pieces + 1
            for begin in range(0, len(body), size):
                if begin:
                    time.sleep(PAUSE)
                self.wfile.write(body[begin : begin + size])

        def log_message(self, *_args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_an_answer_that_takes_long_to_come_is_waited_for(visit: Visiting, slow: str) -> None:
    visiting = visit(slow)
    page = visiting.open()
    expect(page.locator("#connection")).not_to_have_text("Asking the router …")
    assert page.locator("#connection").inner_text() == "Live"
    expect(page.locator("#rate-chart .line")).to_have_count(1)
    visiting.ends_well()


def test_a_key_does_not_wait_for_the_past(visit: Visiting, url: str) -> None:
    visiting = visit(url)
    held = hold(visiting.page, "**/history?*")
    page = visiting.open()
    wait_for(lambda: page.evaluate("1") == len(held), "the page does not ask for samples")
    look_up(page, KEY)
    expect(value(page)).to_have_text("1234")
    assert page.locator("#connection").inner_text() == "Asking the router …"
    held[0].continue_()
    expect(page.locator("#connection")).to_have_text("Live")
    visiting.ends_well()
