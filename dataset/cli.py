"""`ringkv pack`, `verify` and `cache`: the command lines of datasets on this machine."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ringkv.cluster.errors import InvalidDataset, PackingFailed
from ringkv.dataset.command import briefly, ended_by_sigterm
from ringkv.dataset.options import DATA, cache_dir, on_duplicate, pack_memory
from ringkv.dataset.progress import progress_bar
from ringkv.process.command import OneLineCommand, OneLineGroup
from ringkv.process.forking import end_by_sigterm, fork_server
from ringkv.process.words import counted

if TYPE_CHECKING:
    from ringkv.dataset.dataset import Dataset
    from ringkv.dataset.entries import Entry
    from ringkv.dataset.packing.merge import DuplicatePolicy


@click.command(cls=OneLineCommand)
@click.argument("data", type=DATA, nargs=-1, required=True, metavar="DATA... [OUT]")
@on_duplicate
@pack_memory
@cache_dir
def pack(data: tuple[Path, ...], on_duplicate: "DuplicatePolicy", memory: int | None, cache: Path | None) -> None:
    """Pack DATA, pairs of a UUID v4 and a value, into OUT, a dataset that a cluster serves as it is.

    DATA is one or several text files of lines `<UUID v4> <value>`, compressed or not; tables, Parquet or Arrow,
    with columns `key` and `value`; a folder or a quoted pattern of such; a pipe, or - for standard input.
    OUT, a folder of Arrow files to be made, is the last of several arguments. A dataset that is there is replaced.
    Without OUT the dataset goes to the cache, where `ringkv up DATA` finds it. Prints where it is.

    \b
    ringkv pack example.data example
    ringkv up example
    zcat data.gz | ringkv pack - data
    ringkv pack 'part-*.parquet' data
    """
    from ringkv.dataset.packing.inflight import PRELOAD

    end_by_sigterm()
    fork_server(*PRELOAD)

    from ringkv.dataset.cache import dataset_path
    from ringkv.dataset.dataset import Dataset
    from ringkv.dataset.packing.local import pack as pack_data
    from ringkv.dataset.packing.memory import budget_of
    from ringkv.dataset.source.find import find

    out = data[-1] if len(data) > 1 else None
    sources = data[:-1] or data
    budget = budget_of(memory)
    with ended_by_sigterm(), progress_bar(f"packing {briefly(sources)}") as progress:
        if out is None:
            out = dataset_path(*sources, on_duplicate=on_duplicate, cache_dir=cache, budget=budget, progress=progress)
        else:
            pack_data(find(sources), out, on_duplicate=on_duplicate, budget=budget, progress=progress)
    with Dataset.open(out) as dataset:
        click.echo(_told(dataset))


@click.command(cls=OneLineCommand)
@click.argument("datasets", metavar="DATASET...", type=DATA, nargs=-1, required=True)
def verify(datasets: tuple[Path, ...]) -> None:
    """Check every byte of packed datasets, and that each key can be found where it stands.

    Prints a line for each DATASET that is whole, and on stderr one for each damaged block: the others of its
    dataset can be served. Exit code 1 if anything is wrong.

    \b
    ringkv pack example.data example
    ringkv verify example
    """
    from ringkv.dataset.dataset import Dataset
    from ringkv.dataset.verify import damages

    wrong = 0
    for path in datasets:
        before = wrong
        try:
            with Dataset.open(path) as dataset, progress_bar(f"verifying {path.name}") as progress:
                for line in damages(dataset, progress):
                    wrong += 1
                    click.echo(f"Error: {line}", err=True)
        except InvalidDataset as error:
            wrong += 1
            click.echo(f"Error: {error}", err=True)
        if wrong == before:
            click.echo(_told(dataset))
    sys.exit(wrong > 0)


def _told(dataset: "Dataset") -> str:
    manifest = dataset.manifest
    partitions = f"{counted(manifest.partitions, 'partition')} of {counted(manifest.blocks_per_partition, 'block')}"
    return f"{dataset.path}: {counted(manifest.keys, 'key')} in {partitions}, dataset {manifest.dataset_id}"


@click.group("cache", cls=OneLineGroup, invoke_without_command=True)
@cache_dir
@click.pass_context
def cache(context: click.Context, cache: Path | None) -> None:
    """Tell what the cache of datasets holds, or remove what nobody needs.

    A dataset is `current` as long as its source is as it was packed, and `in use` while a process has it open.

    \b
    ringkv cache
    ringkv cache prune
    """
    from ringkv.dataset.cache import cache_folder

    context.obj = cache_folder(cache)
    if context.invoked_subcommand is None:
        context.invoke(list_command)


@cache.command("list", cls=OneLineCommand)
@click.pass_obj
def list_command(folder: Path) -> None:
    """Tell of each dataset its size, its age, its state and its source."""
    from ringkv.dataset.entries import entries

    _tell(folder, entries(folder))


@cache.command("prune", cls=OneLineCommand)
@click.option("--all", "everything", is_flag=True, help="Also what is current. What is in use always stays.")
@click.pass_obj
def prune_command(folder: Path, *, everything: bool) -> None:
    """Remove datasets whose source is gone or has changed, and tell which."""
    from ringkv.dataset.entries import prune

    _tell(folder, prune(folder, everything=everything))


def _read(folder: Path, found: "Iterator[Entry]") -> "Iterator[Entry]":
    """A cache that nobody has used yet is empty. Raises PackingFailed, and not for what is done with the entries."""
    try:
        yield from found
    except FileNotFoundError:
        return
    except OSError as error:
        raise PackingFailed(f"{folder}: the cache cannot be read: {error.strerror}") from error


def _tell(folder: Path, found: "Iterator[Entry]") -> None:
    from rich.filesize import decimal

    for entry in _read(folder, found):
        state = "in use" if entry.used else "current" if entry.current else "old"
        hours = (time.time() - entry.made) / 3600
        age = f"{hours / 24:.0f} days" if hours > 48 else f"{hours:.1f} hours"
        click.echo(f"{decimal(entry.size):>10}  {age:>10}  {state:7}  {' '.join(entry.sources) or entry.path}")
