"""How every ringkv process runs: on uvloop, until SIGINT or SIGTERM."""

import asyncio
import signal
from collections.abc import Awaitable, Callable

import uvloop

Serve = Callable[[asyncio.Event], Awaitable[None]]
"""A process's life as one coroutine: start, wait for the event, stop in good order."""


def run(serve: Serve) -> None:
    """Run `serve` to its end; the event is set by the first signal to stop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve_until_signalled(serve))


async def _serve_until_signalled(serve: Serve) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await serve(stop)
