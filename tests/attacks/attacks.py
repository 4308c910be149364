"""What strangers do: each attack is a process of its own, which goes on until it is killed.

python -m tests.attacks.attacks unread 8000 6380 KEY HUGE LARGE …  keys: of a small value, of the largest, of large ones
"""

import asyncio
import gzip
import sys
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import uvloop


@dataclass(frozen=True, slots=True)
class Target:
    """Where there is something to attack; a port is 0 where there is none."""

    host: str
    http: int
    redis: int
    small: str
    huge: str
    large: list[str]


def get(key: str) -> bytes:
    return f"GET /{key} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


def redis(*args: str) -> bytes:
    return b"*%d\r\n%b" % (len(args), b"".join(b"$%d\r\n%b\r\n" % (len(arg), arg.encode()) for arg in args))


async def open_and(port: int, target: Target, data: bytes, pause: float = 30.0) -> None:
    """Send it, read nothing for so many seconds, and go."""
    if not port:
        return
    with suppress(OSError):
        reader, writer = await asyncio.open_connection(target.host, port, limit=1)
        reader._transport.pause_reading()  # type: ignore[attr-defined]  # noqa: SLF001 - StreamReader reads ahead
        try:
            for at in range(0, len(data), 1 << 20):
                if writer.transport.is_closing():
                    return
                writer.write(data[at : at + (1 << 20)])
                await asyncio.sleep(0)
            await asyncio.sleep(pause)
        finally:
            writer.transport.abort()


async def many(count: int, one: Callable[[int], Awaitable[None]]) -> None:
    """So many at once, each again and again."""

    async def again(number: int) -> None:
        while True:
            await one(number)
            await asyncio.sleep(0.1)

    await asyncio.gather(*map(again, range(count)))


async def unread(target: Target) -> None:
    """300 clients ask for large values over HTTP and read nothing."""
    keys = target.large[1:]
    await many(300, lambda number: open_and(target.http, target, get(keys[number % len(keys)])))


async def pipelined(target: Target) -> None:
    """Pipelines of 32 GETs of a large value: over Redis and over HTTP, 20 clients each."""
    key = target.large[0]

    async def both(number: int) -> None:
        data = (redis("GET", key), get(key))[number % 2] * 32
        await open_and((target.redis, target.http)[number % 2], target, data)

    await many(40, both)


async def huge(target: Target) -> None:
    """Pipelines of 32 GETs of a value of 64 MiB, 1.8 KB that ask for 2 GiB: eight clients read them, eight do not."""

    async def one(number: int) -> None:
        port = (target.redis, target.http)[number % 2]
        data = (redis("GET", target.huge), get(target.huge))[number % 2] * 32
        await (drain(port, target, data) if number % 4 < 2 else open_and(port, target, data, pause=10))

    await many(16, one)


async def drain(port: int, target: Target, data: bytes, seconds: float = 10) -> None:
    """Send it, and read what comes for so many seconds at most."""
    if not port:
        return
    with suppress(OSError, TimeoutError):
        reader, writer = await asyncio.open_connection(target.host, port)
        try:
            writer.write(data)
            async with asyncio.timeout(seconds):
                while await reader.read(1 << 20):
                    pass
        finally:
            writer.transport.abort()


async def read(target: Target) -> None:
    """The same pipelines, read by their clients as quickly as they come."""

    async def one(number: int) -> None:
        port, data = ((target.redis, redis("GET", target.large[0])), (target.http, get(target.large[0])))[number % 2]
        await drain(port, target, data * 32)

    await many(8, one)


async def batches(target: Target) -> None:
    """50 clients ask for all large values at once, by POST /mget and MGET, and read nothing."""
    body = "\n".join(target.large * 20).encode()
    post = b"POST /mget HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)

    async def both(number: int) -> None:
        data = (redis("MGET", *target.large[1:13]), post)[number % 2]
        await open_and((target.redis, target.http)[number % 2], target, data)

    await many(50, both)


async def small(target: Target) -> None:
    """500 clients send pipelines of 20,000 GETs of small values and read nothing."""

    async def both(number: int) -> None:
        data = (redis("GET", target.small), get(target.small))[number % 2] * 20_000
        await open_and((target.redis, target.http)[number % 2], target, data)

    await many(500, both)


async def halves(target: Target) -> None:
    """200 clients send 4 MB of a request that does not end, and 200 announce a body and send most of it."""
    argument = "x" * 1_000_000
    begun = redis("MGET", *[argument] * 4)[:-10]
    post = (
        b"POST /mget HTTP/1.1\r\nHost: x\r\nContent-Length: 4000000\r\n\r\n" + (target.small.encode() + b"\n") * 100_000
    )

    async def both(number: int) -> None:
        await open_and((target.redis, target.http)[number % 2], target, (begun, post)[number % 2])

    await many(400, both)


async def slow(target: Target) -> None:
    """800 clients send a request byte by byte."""

    async def one(number: int) -> None:
        port, data = ((target.redis, redis("GET", target.small)), (target.http, get(target.small)))[number % 2]
        if port:
            with suppress(OSError):
                _, writer = await asyncio.open_connection(target.host, port)
                for byte in data[:-1]:
                    if writer.transport.is_closing():
                        break
                    writer.write(bytes([byte]))
                    await asyncio.sleep(1)
                writer.transport.abort()

    await many(800, one)


async def idle(target: Target) -> None:
    """2,000 clients connect and say nothing."""
    await many(2000, lambda number: open_and((target.redis, target.http)[number % 2], target, b""))


async def bombs(target: Target) -> None:
    """20 clients post 2 MB of gzip that are 2 GB."""
    packed = gzip.compress(bytes(1 << 21), 9) * 1024
    post = b"POST /mget HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    await many(20, lambda _number: open_and(target.http, target, post + packed, pause=1))


async def counts(target: Target) -> None:
    """50 clients announce a billion arguments, a long one, a million and send 400,000, 100,000 and send nearly all."""
    short, shorter = b"$2\r\nab\r\n", b"$1\r\na\r\n"
    data = [
        b"*1000000000\r\n",
        b"*1048576\r\n" + short * 400_000,
        b"*3\r\n$999999999\r\n",
        b"*100000\r\n" + short * 99_000,
        b"*100000\r\n" + (short + shorter) * 49_000,
    ]
    await many(50, lambda number: open_and(target.redis, target, data[number % len(data)], pause=1))


async def costly(target: Target) -> None:
    """60 clients ask again and again for what takes long to make: figures, long transactions, 90,000 names."""
    figures = [get(path) for path in ("metrics", "stats", "ring/layout", "history")]
    pattern = "[a-f]?" * 170
    requests = [
        redis("MULTI") + 2000 * redis("INFO") + redis("EXEC"),
        redis("MGET", *90_000 * ["x" * 36]),
        redis("CLIENT", "LIST") * 20,
        b"".join(redis("SCAN", "0", "MATCH", f"{number}{pattern}") for number in range(20)),
    ]

    async def both(number: int) -> None:
        data = (requests[number % 4], figures[number % 4] * 20)[number // 4 % 2]
        await drain((target.redis, target.http)[number // 4 % 2], target, data, seconds=1)

    await many(60, both)


async def nonsense(target: Target) -> None:
    """50 clients send what is no request, as quickly as they are let."""
    data = [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 50, b"GET /\0 HTTP/9\r\n\r\n", b"x" * 70_000]

    async def both(number: int) -> None:
        await open_and((target.redis, target.http)[number % 2], target, data[number % 3], pause=0.05)

    await many(50, both)


ATTACKS: Final[dict[str, Callable[[Target], Coroutine[Any, Any, None]]]] = {
    attack.__name__: attack
    for attack in (unread, pipelined, read, huge, batches, small, halves, slow, idle, bombs, counts, costly, nonsense)
}


if __name__ == "__main__":
    name, http_port, redis_port, small_key, huge_key, *large_keys = sys.argv[1:]
    uvloop.run(ATTACKS[name](Target("127.0.0.1", int(http_port), int(redis_port), small_key, huge_key, large_keys)))
