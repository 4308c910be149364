"""`python -m bench`: run the steps that were asked for, keep what they measured, and write the report of all."""

import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click

from bench import client, direct, load
from bench.data import prepare
from bench.disk import Disk, measure_disk
from bench.figures import Figures
from bench.large import Large, measure_large
from bench.lookup import look_up
from bench.machine import load_average, software
from bench.memory import hold
from bench.mget import batches
from bench.openloop import open_loop
from bench.origin import here, minute
from bench.pack import pack, pack_large
from bench.peers.all import PEERS
from bench.plan import Planned, measure_plan
from bench.quiet import Quiet
from bench.redis import pipeline
from bench.remote import Remote, measure_remote
from bench.report import report
from bench.results import STEPS, Results
from bench.sample import Sampler
from bench.scaling import grow
from bench.serving import Scale, serve
from bench.sizes import measure_sizes
from bench.skew import skew
from bench.startup import start_up
from bench.tls import encrypt
from ringkv.plan_options import Pairs

NEEDS_WRK: Final = ("serve", "open", "sizes", "skew", "redis", "mget", "cluster", "scaling", "tls")

rounds_option = click.option("--rounds", type=click.IntRange(1), default=5, show_default=True, envvar="ROUNDS")
few_rounds_option = click.option("--rounds", type=click.IntRange(1), default=3, show_default=True, envvar="ROUNDS")
seconds_option = click.option(
    "--seconds", type=click.FloatRange(1), default=4, show_default=True, envvar="SECONDS", help="Of each load."
)
patience_option = click.option(
    "--patience",
    type=click.FloatRange(0),
    default=300,
    show_default=True,
    help="Seconds that may be waited in all until nobody else uses the machine.",
)
work_option = click.option(
    "--work", type=click.Path(path_type=Path), default=Path("build/bench"), show_default=True, help="Data and results."
)
docs_option = click.option(
    "--docs", type=click.Path(path_type=Path), default=Path("docs"), show_default=True, help="Where the report goes."
)
mixed_option = click.option(
    "--mixed",
    is_flag=True,
    help="Let the report have figures of other commits and machines too; each part says its own.",
)


class Program(click.Group):
    """A group whose command `compare` need not be named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        named = args and (args[0] in self.commands or args[0] == "--help")
        return super().parse_args(ctx, args if named else ["compare", *args])


@click.group(cls=Program)
def main() -> None:
    """Measure ringkv. `compare`, beside its peers, is what is done if no command is named."""
    # Both signals end what was started. A shell has its background processes ignore the first, so it is set here.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)


@main.command("disk")
@click.argument("dataset", type=click.Path(path_type=Path, exists=True, file_okay=False))
@few_rounds_option
@seconds_option
@patience_option
@work_option
@docs_option
@mixed_option
def disk_command(  # noqa: PLR0913, PLR0917 - click passes by name
    dataset: Path,
    rounds: int,
    seconds: float,
    patience: float,
    work: Path,
    docs: Path,
    mixed: bool,  # noqa: FBT001 - as above
) -> None:
    """Measure what a shard does when DATASET, a packed one, is on the disk, beside the disk itself and others."""
    sampler = Sampler(dataset.resolve())
    work.mkdir(parents=True, exist_ok=True)

    def run(folder: Path, quiet: Quiet, found: Figures) -> None:
        # Sockets need short paths; what others store belongs on the disk that is measured.
        with tempfile.TemporaryDirectory(prefix="disk-", dir=work) as store:
            measure_disk(Disk(sampler, rounds, seconds, folder, Path(store).resolve(), quiet, found))

    _alone("disk", run, Quiet(patience), _results(work, "disk", mixed=mixed), docs)


@main.command("large")
@click.option("--pairs", type=Pairs(), default="10M", show_default=True, help="As 200k or 100M.")
@few_rounds_option
@patience_option
@work_option
@docs_option
@mixed_option
def large_command(  # noqa: PLR0913, PLR0917 - click passes by name
    pairs: int,
    rounds: int,
    patience: float,
    work: Path,
    docs: Path,
    mixed: bool,  # noqa: FBT001 - as above
) -> None:
    """Pack many pairs, start a cluster of them, look some up, and lose a shard.

    With 100M pairs this takes half an hour and 30 GB of disk. The dataset stays, for `python -m bench disk`.
    """
    work = work.resolve()

    def run(folder: Path, quiet: Quiet, found: Figures) -> None:
        measure_large(Large(pairs, rounds, work, folder, quiet, found))

    _alone("large", run, Quiet(patience), _results(work, "large", mixed=mixed), docs)


@main.command("plan")
@click.option(
    "--pairs", type=Pairs(), multiple=True, default=("1M", "10M"), show_default=True, help="As 200k or 100M; several."
)
@few_rounds_option
@patience_option
@work_option
@docs_option
@mixed_option
def plan_command(  # noqa: PLR0913, PLR0917 - click passes by name
    pairs: tuple[int, ...],
    rounds: int,
    patience: float,
    work: Path,
    docs: Path,
    mixed: bool,  # noqa: FBT001 - as above
) -> None:
    """Hold what `ringkv plan --here` foretells of so many pairs to what they take.

    Datasets of these sizes that are in WORK are packed anew. 100M pairs take 40 GB of disk.
    """
    work = work.resolve()

    def run(folder: Path, quiet: Quiet, found: Figures) -> None:
        measure_plan([Planned(at, rounds, work, folder, quiet, found) for at in sorted(pairs)])

    _alone("plan", run, Quiet(patience), _results(work, "plan", mixed=mixed), docs)


@main.command("remote")
@click.option("--pairs", type=Pairs(), default="1M", show_default=True, help="As 200k or 10M.")
@few_rounds_option
@seconds_option
@patience_option
@work_option
@docs_option
@mixed_option
def remote_command(  # noqa: PLR0913, PLR0917 - click passes by name
    pairs: int,
    rounds: int,
    seconds: float,
    patience: float,
    work: Path,
    docs: Path,
    mixed: bool,  # noqa: FBT001 - as above
) -> None:
    """Measure shards whose data lie in a store: what they fetch, how fast, and what clients notice of it."""
    work = work.resolve()

    def run(folder: Path, quiet: Quiet, found: Figures) -> None:
        measure_remote(Remote(pairs, rounds, seconds, work, folder, quiet, found))

    _alone("remote", run, Quiet(patience), _results(work, "remote", mixed=mixed), docs)


@main.command()
@click.argument("steps", nargs=-1, type=click.Choice([*STEPS, "report"]))
@click.option("--pairs", type=click.IntRange(100), default=1_000_000, show_default=True)
@rounds_option
@seconds_option
@click.option("--peer", "chosen", multiple=True, help="Of the step `serve`, only peers whose name contains this.")
@patience_option
@work_option
@docs_option
@mixed_option
def compare(  # noqa: PLR0913, PLR0917 - click passes by name
    steps: tuple[str, ...],
    pairs: int,
    rounds: int,
    seconds: float,
    chosen: tuple[str, ...],
    patience: float,
    work: Path,
    docs: Path,
    mixed: bool,  # noqa: FBT001 - as above
) -> None:
    """Measure ringkv and its peers: all of it, in one go, or the STEPS that are named.

    What each step has measured stays in WORK/results, and the report is always about all that is there. Without STEPS
    it begins anew. `report` measures nothing.
    """
    work, scale = work.resolve(), Scale(rounds, seconds)
    wanted = [step for step in steps or STEPS if step != "report"]
    results = _results(work, *wanted, mixed=mixed, anew=not steps)
    peers = tuple(peer for peer in PEERS if peer.name == "ringkv" or not chosen or any(c in peer.name for c in chosen))
    quiet = Quiet(patience)
    data = prepare(work, pairs) if wanted else None
    with _sockets() as folder:
        for step in dict.fromkeys(wanted):
            if packages := _missing(step):
                click.echo(f"{step}: not measured, because of what is not installed (Debian packages {packages})")
                continue
            assert data is not None
            run: dict[str, Callable[[Figures], None]] = {
                "memory": lambda found: hold(data, folder, found),
                "lookup": lambda found: look_up(data, found),
                "startup": lambda found: start_up(data, rounds, folder, quiet, found),
                "pack": lambda found: pack(data, rounds, folder, quiet, found),
                "serve": lambda found: serve(peers, data, scale, folder, quiet, found),
                "open": lambda found: open_loop(data, scale, folder / "open", quiet, found),
                "sizes": lambda found: measure_sizes(work, pairs, scale, folder / "sizes", quiet, found),
                "skew": lambda found: skew(data, scale, folder / "skew", quiet, found),
                "redis": lambda found: pipeline(data, scale, folder, quiet, found),
                "mget": lambda found: batches(data, scale, folder, quiet, found),
                "cluster": lambda found: direct.direct(data, scale, folder / "cluster", quiet, found),
                "tls": lambda found: encrypt(data, scale, folder, quiet, found),
                "growth": lambda found: pack_large(data, prepare(work, 10 * pairs), quiet, found),
                "scaling": lambda found: grow(work, folder, pairs, scale, quiet, found),
            }
            _measure(step, run[step], quiet, results)
    report(results.figures(), docs)


def _alone(step: str, run: Callable[[Path, Quiet, Figures], None], quiet: Quiet, results: Results, docs: Path) -> None:
    """Measure what is a command of its own, and report it with all that is there."""
    with _sockets() as folder:
        _measure(step, lambda found: run(folder, quiet, found), quiet, results)
    report(results.figures(), docs)


def _missing(step: str) -> str:
    """The Debian packages without which the step cannot be measured."""
    packages = [] if load.installed() or step not in NEEDS_WRK else ["wrk"]
    packages += {"cluster": direct.missing, "open": client.missing, "redis": client.missing}.get(step, list)()
    return ", ".join(packages)


@contextmanager
def _sockets() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="rkv-bench-") as name:
        yield Path(name)


def _results(work: Path, *steps: str, mixed: bool, anew: bool = False) -> Results:
    """Where these steps go. What is there stays, if it may, or is removed if all is measured anew."""
    results = Results(work / "results", mixed=mixed)
    if anew and not mixed:
        results.clear()
    if steps:
        results.admit(steps, here(minute()).place)
    return results


def _measure(step: str, run: Callable[[Figures], None], quiet: Quiet, results: Results) -> None:
    click.secho(f"{step} (load average {load_average()})", bold=True)
    figures, before, repeated, began = Figures(notes=software()), load_average(), quiet.repeated, minute()
    run(figures)
    figures.origins[step] = here(began)
    figures.notes[f"load average, {step}"] = f"{before} before, {load_average()} after"
    if again := quiet.repeated - repeated:
        figures.notes[f"measured again, {step}"] = f"{again} times, because others used the machine"
    results.keep(step, figures)


if __name__ == "__main__":
    main(prog_name="python -m bench")
