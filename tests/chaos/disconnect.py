"""Clients that go away in the middle of a request, thousands of them: a process of its own, beside the load.

python -m tests.chaos.disconnect example.data --url 127.0.0.1:8000 --times 10000
"""

import asyncio
import socket
import struct
from itertools import cycle
from pathlib import Path
from typing import Final

import click
import uvloop

AT_ONCE: Final = 16
RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER with no time to linger: the connection ends with a reset instead of a farewell."""

WAYS: Final = (
    (0.5, False),  # half of the request, then a farewell
    (1.0, False),  # the whole request, then a farewell: the answer finds nobody
    (0.5, True),
    (1.0, True),
)
"""How much of the request is sent, and whether the connection is reset."""


async def _ask_and_go(host: str, port: int, key: bytes, part: float, reset: bool) -> None:  # noqa: FBT001
    request = b"GET /%b HTTP/1.1\r\nHost: ringkv\r\n\r\n" % key
    _, writer = await asyncio.open_connection(host, port)
    if reset:
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.write(request[: int(part * len(request))])
    await writer.drain()
    writer.close()
    await writer.wait_closed()


async def _disconnect(host: str, port: int, keys: list[bytes], times: int) -> None:
    errands = iter(zip(range(times), cycle(keys), cycle(WAYS), strict=False))

    async def client() -> None:
        for _, key, (part, reset) in errands:
            await _ask_and_go(host, port, key, part, reset)

    await asyncio.gather(*(client() for _ in range(AT_ONCE)))


@click.command()
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--url", required=True, help="host:port of a router.")
@click.option("--times", type=int, required=True)
def main(data: Path, url: str, times: int) -> None:
    """Ask the router at `--url`, and be gone before it answers."""
    with data.open("rb") as lines:
        keys = [line[:36] for line, _ in zip(lines, range(1000), strict=False)]
    host, _, port = url.rpartition(":")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_disconnect(host, int(port), keys, times))


if __name__ == "__main__":
    main()
