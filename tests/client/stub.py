"""A real HTTP server that answers as a router does, or worse: what the client has to cope with."""

import os
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

PLAIN = "f8a24bb8-eff8-41dc-929b-10b4c3e49e05"
EMPTY = "00000000-0000-4000-8000-000000000000"
BINARY = "11111111-1111-4111-9111-111111111111"
LARGE = "22222222-2222-4222-a222-222222222222"
ABSENT = "ffffffff-ffff-4fff-bfff-ffffffffffff"
VALUES = {
    PLAIN: b"the value",
    EMPTY: b"",
    BINARY: b" \t two  spaces \x00\xff\xfe\x1b[31m\xe2\x82 \r",
    LARGE: os.urandom(1 << 20).replace(b"\n", b"\r"),
}


class Handler(BaseHTTPRequestHandler):
    """What router/http/app.py answers, unless the server has a fault in store for the next request."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: "Router"

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def do_GET(self) -> None:
        self.server.paths.append(self.path)
        self.server.said.append(self.headers.get("Authorization"))
        fault = self.server.faults.pop(0) if self.server.faults else Handler.answer
        fault(self)

    def answer(self) -> None:
        value = VALUES.get(self.path.rpartition("/")[2])
        if value is None:
            self.reply(404, b"no such key in the dataset\n", Ringkv_Missing="1")
        else:
            self.reply(200, value)

    def reply(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content_Length": str(len(body)), "Content_Type": "text/plain", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def answer_and_hang_up(self) -> None:
        self.answer()
        self.close_connection = True

    def hang_up(self) -> None:
        self.close_connection = True

    def say_nothing(self) -> None:
        self.server.asked.set()
        self.server.stopping.wait()
        self.close_connection = True

    def break_off(self) -> None:
        self.reply(200, b"half of it", Content_Length="20")
        self.close_connection = True

    def talk_redis(self) -> None:
        self.wfile.write(b"-ERR unknown command\r\n")
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


Fault = Callable[[Handler], None]


def replies(status: int, body: bytes, **headers: str) -> Fault:
    return lambda handler: handler.reply(status, body, **headers)


class Router(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self, host: str) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, 0), Handler)
        self.url = f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"
        self.faults: list[Fault] = []
        self.paths: list[str] = []
        self.said: list[str | None] = []
        self.connections = 0
        self.asked = threading.Event()
        self.stopping = threading.Event()

    @property
    def port(self) -> int:
        return int(self.socket.getsockname()[1])


@contextmanager
def running(router: Router) -> Iterator[Router]:
    thread = threading.Thread(target=router.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield router
    finally:
        router.stopping.set()
        router.shutdown()
        thread.join()
        router.server_close()
