"""Calls in threads that read files: whoever is cancelled waits for the thread, so that what it reads can be closed."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

Result = TypeVar("Result")
Params = ParamSpec("Params")


async def to_end(call: Callable[Params, Result], *args: Params.args, **kwargs: Params.kwargs) -> Result:
    """As `asyncio.to_thread`, but it never ends before the call does."""
    begun = asyncio.get_running_loop().run_in_executor(None, partial(call, *args, **kwargs))
    try:
        return await asyncio.shield(begun)
    except asyncio.CancelledError:
        await asyncio.wait([begun])
        if not begun.cancelled():
            begun.exception()  # asked for, as asyncio logs what nobody asks for
        raise
