"""`ringkv pack` and `ringkv verify`, and how every command line comes from a data file to its packed one."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from cluster.cli import OneLineCommand
from cluster.errors import PackedFileError
from cluster.forking import fork_server
from dataset.progress import progress_bar

if TYPE_CHECKING:
    from dataset.merge import DuplicatePolicy

DATA: Final = click.Path(path_type=Path, readable=False)
"""The path of a data file as an argument: who reads it finds out whether that can be done, and says so in one line."""

cache_dir = click.option(
    "--cache",
    type=click.Path(path_type=Path),
    envvar="RINGKV_CACHE",
    show_envvar=True,
    help="Where packed files are kept.  [default: the user's cache folder]",
)


def packed(data: Path, cache: Path | None) -> Path:
    """The packed file of `data`, made now if it has to be, with a progress bar for those who watch."""
    from dataset.cache import packed_path

    with progress_bar(f"packing {data.name}") as progress:
        return packed_path(data, cache_dir=cache, progress=progress)


@click.command(cls=OneLineCommand)
@click.argument("data", type=DATA)
@click.argument("out", type=click.Path(path_type=Path), required=False)
@click.option(
    "--on-duplicate",
    type=click.Choice(["error", "first", "last"]),
    default="error",
    show_default=True,
    help="Which line of a key that stands on several to take.",
)
@cache_dir
def pack(data: Path, out: Path | None, on_duplicate: "DuplicatePolicy", cache: Path | None) -> None:
    """Pack DATA, lines of `<UUID v4> <value>`, into OUT, an Arrow file that a cluster serves as it is.

    Without OUT the packed file goes to the cache, where `ringkv up DATA` finds it. Prints where it is.

    \b
    ringkv pack example.data example.arrow
    ringkv up example.arrow
    """
    fork_server("dataset.pack")

    from dataset.cache import packed_path
    from dataset.pack import pack as pack_file
    from dataset.packed import PackedFile

    with progress_bar(f"packing {data.name}") as progress:
        if out is None:
            out = packed_path(data, on_duplicate=on_duplicate, cache_dir=cache, progress=progress)
        else:
            pack_file(data, out, on_duplicate=on_duplicate, progress=progress)
    with PackedFile.open(out) as result:
        header = result.header
        click.echo(f"{out}: {header.keys:,} keys in {header.partitions:,} partitions, dataset {header.dataset_id}")


@click.command(cls=OneLineCommand)
@click.argument("files", metavar="FILE...", type=DATA, nargs=-1, required=True)
def verify(files: tuple[Path, ...]) -> None:
    """Check every byte of packed files, and that each key can be found where it stands.

    Prints a line for each FILE that is whole, and on stderr one for each damaged partition: the others of its
    file can be served. Exit code 1 if anything is wrong.

    \b
    ringkv pack example.data example.arrow
    ringkv verify example.arrow
    """
    from dataset.packed import PackedFile
    from dataset.verify import damages

    wrong = 0
    for path in files:
        before = wrong
        try:
            with PackedFile.open(path) as file, progress_bar(f"verifying {path.name}") as progress:
                for line in damages(file, progress):
                    wrong += 1
                    click.echo(f"Error: {line}", err=True)
        except PackedFileError as error:
            wrong += 1
            click.echo(f"Error: {error}", err=True)
        if wrong == before:
            header = file.header
            click.echo(f"{path}: {header.keys:,} keys in {header.partitions:,} partitions, dataset {header.dataset_id}")
    sys.exit(wrong > 0)
