"""How every ringkv process runs: on uvloop, until SIGINT or SIGTERM, or until SIGHUP where that means to begin anew."""

import asyncio
import gc
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Final

from ringkv.process.files import watch_files
from ringkv.process.loop import EventLoop
from ringkv.process.priority import go_first

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)

COLLECT: Final = 700, 10, 100
"""New objects, and collections of newer ones, until the collector looks at those of each age. A look at all of them
takes 40 to 140 ms where thousands of clients send much, and all others wait; it hardly finds anything, as connections
that end leave no cycle. So it comes a tenth as often as Python has it."""

SWITCH_SECONDS: Final = 0.0005
"""Seconds for which a thread that computes may keep the event loop from running (`sys.setswitchinterval`). Python's
default of 5 ms is many times what an answer takes."""

Serve = Callable[[asyncio.Event], Awaitable[None]]
"""A process's life as one coroutine: start, wait for the event, stop in good order."""

MayBeginAnew = Callable[[], bool]
"""Asked on SIGHUP: whether the process could start again as things are now."""


def run(serve: Serve, may_begin_anew: MayBeginAnew | None = None) -> bool:
    """Run `serve` to its end; the event is set by the first signal to stop. True if it is to begin anew."""
    # What the imports have made stays for ever: without this the collector visits all of it again and again, and
    # by its visits makes a forked process copy the pages that it shares with the fork server.
    gc.freeze()
    gc.set_threshold(*COLLECT)
    sys.setswitchinterval(SWITCH_SECONDS)
    go_first()
    with asyncio.Runner(loop_factory=EventLoop) as runner:
        return runner.run(_serve_until_signalled(serve, may_begin_anew))


async def _serve_until_signalled(serve: Serve, may_begin_anew: MayBeginAnew | None) -> bool:
    stop = asyncio.Event()
    signals = set[int]()
    loop = asyncio.get_running_loop()

    def told(number: int) -> None:
        if number == signal.SIGHUP and may_begin_anew is not None and not may_begin_anew():
            return
        signals.add(number)
        stop.set()

    for number in (*SIGNALS, signal.SIGHUP) if may_begin_anew is not None else SIGNALS:
        loop.add_signal_handler(number, told, number)
    watching = loop.create_task(watch_files())
    try:
        await serve(stop)
    finally:
        watching.cancel()
        anew = signals == {signal.SIGHUP}  # a signal to stop wins, in whatever order they come
        for number in SIGNALS:
            loop.remove_signal_handler(number)
            # A process that begins anew may still be stopped. One that has stopped must not have its exit code turned
            # into a failure by a second signal.
            signal.signal(number, signal.SIG_DFL if anew else signal.SIG_IGN)
        loop.remove_signal_handler(signal.SIGHUP)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    return anew
