"""How every ringkv process runs: on uvloop, until SIGINT or SIGTERM."""

import asyncio
import gc
import signal
from collections.abc import Awaitable, Callable

import uvloop

SIGNALS = (signal.SIGINT, signal.SIGTERM)

Serve = Callable[[asyncio.Event], Awaitable[None]]
"""A process's life as one coroutine: start, wait for the event, stop in good order."""


def run(serve: Serve) -> None:
    """Run `serve` to its end; the event is set by the first signal to stop."""
    # What the imports have made stays for ever: without this the collector visits all of it again and again, and
    # by its visits makes a forked process copy the pages that it shares with the fork server.
    gc.freeze()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve_until_signalled(serve))


async def _serve_until_signalled(serve: Serve) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in SIGNALS:
        loop.add_signal_handler(number, stop.set)
    try:
        await serve(stop)
    finally:
        # From here on there is nothing left to stop: a second signal must not turn the exit code into a failure.
        for number in SIGNALS:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)
