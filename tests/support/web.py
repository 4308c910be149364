"""A web server of the tests' own that serves a folder by ranges, counts what is asked, and fails as it is told."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple


class Asked(NamedTuple):
    """A request that was answered: the path, and the bytes from `start` up to `end`, without it."""

    path: str
    start: int
    end: int

    @property
    def size(self) -> int:
        return self.end - self.start


class Web:
    """`fault` is what is wrong with the next answers: "" for nothing, a status as "503", or one of these.

    "cut" ends the connection in the middle of the answer, "short" sends a byte too little as if it were all, "flip"
    has a wrong bit in the middle, "refuse" closes without an answer, "hang" waits at `gate`. `fails` bounds how often,
    `failing` is a part of the paths to which this happens.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[Asked] = []
        self.fault = ""
        self.fails = 1 << 30
        self.failing = ""
        self.gate = threading.Event()
        self.together = 0
        self.most = 0
        self.lock = threading.Lock()
        self.url = ""

    def ranges(self) -> list[Asked]:
        """The requests for parts of segments."""
        return [asked for asked in self.asked if "segment" in asked.path]

    def fails_now(self, path: str) -> str:
        with self.lock:
            if not self.fault or self.fails <= 0 or self.failing not in path:
                return ""
            self.fails -= 1
            return self.fault

    @contextmanager
    def counted(self) -> Iterator[None]:
        with self.lock:
            self.together += 1
            self.most = max(self.most, self.together)
        try:
            yield
        finally:
            with self.lock:
                self.together -= 1


class Handler(BaseHTTPRequestHandler):
    """Answers one connection, with what is wrong with the answers at present."""

    web: Web
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # else each part of an answer waits for the other side to acknowledge the one before

    def do_GET(self) -> None:
        with self.web.counted():
            fault = self.web.fails_now(self.path)
            if fault in {"hang", "refuse"}:
                if fault == "hang":
                    self.web.gate.wait(30)
                self.close_connection = True
            elif fault.isdigit():
                self.send_error(int(fault))
            else:
                self._answer(fault)

    def log_message(self, *_args: Any) -> None:
        return

    def _answer(self, fault: str) -> None:
        try:
            content = (self.web.folder / self.path.lstrip("/")).read_bytes()
        except OSError:
            self.send_error(404)
            return
        wanted = self.headers.get("Range")
        start, end = 0, len(content)
        if wanted:
            start, last = map(int, wanted.removeprefix("bytes=").split("-"))
            end = min(last + 1, len(content))
        body = bytearray(content[start:end])
        if fault == "short":
            del body[-1:]
        elif fault == "flip" and body:
            body[len(body) // 2] ^= 1
        self.send_response(206 if wanted else 200)
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{start + len(body) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        self.send_header("ETag", '"it"')
        self.end_headers()
        if fault == "cut":
            self.wfile.write(body[: len(body) // 2])
            self.close_connection = True
            return
        # First: who has read the answer may look at once.
        self.web.asked.append(Asked(self.path.lstrip("/"), start, end))
        self.wfile.write(body)


@contextmanager
def web(folder: Path) -> Iterator[Web]:
    """A web server for the folder."""
    served = Web(folder)
    handler = type("Handler", (Handler,), {"web": served})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        server.block_on_close = False
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        served.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield served
        finally:
            served.gate.set()
            server.shutdown()
            thread.join()
