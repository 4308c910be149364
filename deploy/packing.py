"""Packing beside a cluster that serves: in a process of its own, which can be ended at any time."""

import asyncio
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from ringkv.cluster.errors import PackingFailed, RingkvError
from ringkv.dataset.command import ended_by_sigterm
from ringkv.process.forking import fork_server
from ringkv.process.priority import step_aside

if TYPE_CHECKING:
    from ringkv.dataset.packing.merge import DuplicatePolicy


async def packed(data: tuple[Path, ...], on_duplicate: "DuplicatePolicy", cache: Path | None) -> Path:
    """The path of the dataset of `data`, packed now if need be. Raises as `dataset.cache.dataset_path`."""
    context = fork_server()
    try:
        receiving, sending = context.Pipe(duplex=False)
    except OSError as error:
        raise _not_started(data, error) from error
    process = context.Process(target=_pack, args=(sending, data, on_duplicate, cache), name="pack")
    try:
        process.start()
    except (OSError, EOFError) as error:
        receiving.close()
        raise _not_started(data, error) from error
    finally:
        sending.close()
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(receiving.fileno(), ended.set)
    try:
        await ended.wait()
        outcome: Path | RingkvError = receiving.recv()
    except EOFError:
        raise PackingFailed(f"{data[0]}: the process that packed it was killed; is there enough memory?") from None
    finally:
        asyncio.get_running_loop().remove_reader(receiving.fileno())
        process.terminate()
        await asyncio.to_thread(process.join)
        receiving.close()
    if isinstance(outcome, RingkvError):
        raise outcome
    return outcome


def _not_started(data: tuple[Path, ...], error: OSError | EOFError) -> PackingFailed:
    reason = getattr(error, "strerror", None) or error
    return PackingFailed(f"{data[0]}: no process can be started to pack it: {reason}")


def _pack(sending: Connection, data: tuple[Path, ...], on_duplicate: "DuplicatePolicy", cache: Path | None) -> None:
    from ringkv.dataset.cache import dataset_path  # noqa: PLC0415 - the fork server, and all forked from it, do without

    step_aside()
    outcome: Path | RingkvError
    with ended_by_sigterm():
        try:
            outcome = dataset_path(*data, on_duplicate=on_duplicate, cache_dir=cache)
        except RingkvError as error:
            outcome = error
        sending.send(outcome)
