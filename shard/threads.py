"""Calls in threads that read files: even if cancelled, they are awaited, so that what they read can be closed then."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

Result = TypeVar("Result")
Params = ParamSpec("Params")


async def to_end(call: Callable[Params, Result], *args: Params.args, **kwargs: Params.kwargs) -> Result:
    """As `asyncio.to_thread`, but it never ends before the call does, not even when it is cancelled."""
    begun = asyncio.get_running_loop().run_in_executor(None, partial(call, *args, **kwargs))
    try:
        return await asyncio.shield(begun)
    except asyncio.CancelledError:
        await asyncio.wait([begun])
        if not begun.cancelled():
            begun.exception()  # retrieved, as asyncio logs exceptions that nobody retrieves
        raise
