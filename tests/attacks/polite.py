"""The polite client: a process of its own that asks for small values at a fixed pace, and reads what it gets.

    python -m tests.attacks.polite http 8000 KEY VALUE SECONDS     writes a line of JSON

The load is open: a request counts from when it was due, whatever became of the ones before it.
"""

import asyncio
import json
import sys
import time
from typing import Final

import uvloop

RATE: Final = 200
CONNECTIONS: Final = 8
PATIENCE: Final = 10.0


def request(kind: str, key: str) -> bytes:
    if kind == "http":
        return f"GET /{key} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    return f"*2\r\n$3\r\nGET\r\n${len(key)}\r\n{key}\r\n".encode()


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kind: str, key: str) -> bytes:
    writer.write(request(kind, key))
    if kind == "http":
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        return await reader.readexactly(int(length.split(b":")[1]))
    head = await reader.readuntil(b"\r\n")
    if head[:1] != b"$":
        return head
    return (await reader.readexactly(int(head[1:]) + 2))[:-2]


async def run(kind: str, address: tuple[str, int], key: str, value: bytes, seconds: float) -> None:
    latencies: list[float] = []
    failures: list[str] = []
    started = time.monotonic()

    async def one(number: int) -> None:
        reader = writer = None
        for turn in range(number, int(seconds * RATE), CONNECTIONS):
            due = started + turn / RATE
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            try:
                async with asyncio.timeout(PATIENCE):
                    if writer is None:
                        reader, writer = await asyncio.open_connection(*address)
                    assert reader is not None
                    got = await ask(reader, writer, kind, key)
                if got != value:
                    failures.append(f"{got[:80]!r}")
            except (OSError, EOFError, TimeoutError, StopIteration, asyncio.IncompleteReadError) as error:
                failures.append(repr(error))
                if writer is not None:
                    writer.close()
                reader = writer = None
            latencies.append(time.monotonic() - due)
        if writer is not None:
            writer.close()

    await asyncio.gather(*map(one, range(CONNECTIONS)))
    latencies.sort()
    told = {
        "requests": len(latencies),
        "failures": len(failures),
        "first": failures[:1],
        "p50": 1000 * latencies[len(latencies) // 2],
        "p99": 1000 * latencies[len(latencies) * 99 // 100],
        "longest": 1000 * latencies[-1],
    }
    print(json.dumps(told), flush=True)  # noqa: T201 - the answer


if __name__ == "__main__":
    kind, port, key, value, seconds = sys.argv[1:]
    uvloop.run(run(kind, ("127.0.0.1", int(port)), key, value.encode(), float(seconds)))
