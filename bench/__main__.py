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
from bench.options import Asked, common_options, seconds_option
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
@seconds_option
@common_options(rounds=3)
def disk_command(asked: Asked, dataset: Path, seconds: float) -> None:
    """Measure what a shard does when DATASET, a packed one, is on the disk, beside the disk itself and others."""
    sampler = Sampler(dataset.resolve())
    asked.work.mkdir(parents=True, exist_ok=True)

    def run(folder: Path, quiet: Quiet, found: Figures) -> None:
        # Sockets need short paths; what others store belongs on the disk that is measured.
        with tempfile.TemporaryDirectory(prefix="disk-", dir=asked.work) as store:
            measure_disk(Disk(sampler, asked.rounds, seconds, folder, Path(store), quiet, found))

    _alone("disk", run, asked)


@main.command("large")
@click.option("--pairs", type=Pairs(), default="10M", show_default=True, help="As 200k or 100M.")
@common_options(rounds=3)
def large_command(asked: Asked, pairs: int) -> None:
    """Pack many pairs, start a cluster of them, look some up, and lose a shard.

    With 100M pairs this takes half an hour and 30 GB of disk. The dataset stays, for `python -m bench disk`.
    """

    def run(folder: Path, quiet: Quiet, found: Figures) -> None:
        measure_large(Large(pairs, asked.rounds, asked.work, folder, quiet, found))

    _alone("large", run, asked)


@main.command("plan")
@click.option(
    "--pairs", type=Pairs(), multiple=True, default=("1M", "10M"), show_default=True, help="As 200k or 100M; several."
)
@common_options(rounds=3)
def plan_command(asked: Asked, pairs: tuple[int, ...]) -> None:
    """Hold what `ringkv plan --here` foretells of so many pairs to what they take.

    Datasets of these sizes that are in WORK are packed anew. 100M pairs take 40 GB of disk.
    """

    def run(folder: Path, quiet: Quiet, found: Figures) -> None:
        measure_plan([Planned(at, asked.rounds, asked.work, folder, quiet, found) for at in sorted(pairs)])

    _alone("plan", run, asked)


@main.command("remote")
@click.option("--pairs", type=Pairs(), default="1M", show_default=True, help="As 200k or 10M.")
@seconds_option
@common_options(rounds=3)
def remote_command(asked: Asked, pairs: int, seconds: float) -> None:
    """Measure shards whose data lie in a store: what they fetch, how fast, and what clients notice of it."""

    def run(folder: Path, quiet: Quiet, found: Figures) -> None:
        measure_remote(Remote(pairs, asked.rounds, seconds, asked.work, folder, quiet, found))

    _alone("remote", run, asked)


@main.command()
@click.argument("steps", nargs=-1, type=click.Choice([*STEPS, "report"]))
@click.option("--pairs", type=click.IntRange(100), default=1_000_000, show_default=True)
@seconds_option
@click.option("--peer", "chosen", multiple=True, help="Of the step `serve`, only peers whose name contains this.")
@common_options(rounds=5)
def compare(asked: Asked, steps: tuple[str, ...], pairs: int, seconds: float, chosen: tuple[str, ...]) -> None:
    """Measure ringkv and its peers: all of it, in one go, or the STEPS that are named.

    What each step has measured stays in WORK/results, and the report is always about all that is there. Without STEPS
    it begins anew. `report` measures nothing.
    """
    work, scale = asked.work, Scale(asked.rounds, seconds)
    wanted = [step for step in steps or STEPS if step != "report"]
    results = _results(asked, *wanted, anew=not steps)
    peers = tuple(peer for peer in PEERS if peer.name == "ringkv" or not chosen or any(c in peer.name for c in chosen))
    quiet = Quiet(asked.patience)
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
                "startup": lambda found: start_up(data, asked.rounds, folder, quiet, found),
                "pack": lambda found: pack(data, asked.rounds, folder, quiet, found),
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
    report(results.figures(), asked.docs)


def _alone(step: str, run: Callable[[Path, Quiet, Figures], None], asked: Asked) -> None:
    """Measure what is a command of its own, and report it with all that is there."""
    quiet, results = Quiet(asked.patience), _results(asked, step)
    with _sockets() as folder:
        _measure(step, lambda found: run(folder, quiet, found), quiet, results)
    report(results.figures(), asked.docs)


def _missing(step: str) -> str:
    """The Debian packages without which the step cannot be measured."""
    packages = [] if load.installed() or step not in NEEDS_WRK else ["wrk"]
    packages += {"cluster": direct.missing, "open": client.missing, "redis": client.missing}.get(step, list)()
    return ", ".join(packages)


@contextmanager
def _sockets() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="rkv-bench-") as name:
        yield Path(name)


def _results(asked: Asked, *steps: str, anew: bool = False) -> Results:
    """Where these steps go. What is there stays, if it may, or is removed if all is measured anew."""
    results = Results(asked.work / "results", mixed=asked.mixed)
    place = here(minute()).place
    if anew and not asked.mixed:
        results.clear(place)
    if steps:
        results.admit(steps, place)
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
