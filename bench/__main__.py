"""`python -m bench`: run the steps that were asked for, keep what they measured, and write the report of all."""

import signal
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import click

from bench import load
from bench.data import prepare
from bench.figures import Figures
from bench.lookup import look_up
from bench.machine import load_average, machine
from bench.memory import hold
from bench.mget import batches
from bench.pack import pack, pack_large
from bench.peers.all import PEERS
from bench.quiet import Quiet
from bench.redis import pipeline
from bench.report import report
from bench.scaling import grow
from bench.serving import Scale, serve
from bench.startup import start_up

NEEDS_WRK: Final = ("serve", "redis", "mget", "scaling")
STEPS: Final = ("memory", "lookup", "startup", "pack", "serve", "redis", "mget")
OPTIONAL_STEPS: Final = ("large", "scaling")


@click.command()
@click.argument("steps", nargs=-1, type=click.Choice([*STEPS, *OPTIONAL_STEPS, "report"]))
@click.option("--pairs", type=click.IntRange(100), default=1_000_000, show_default=True)
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True, envvar="ROUNDS")
@click.option("--seconds", type=click.FloatRange(1), default=4, show_default=True, envvar="SECONDS")
@click.option("--peer", "chosen", multiple=True, help="Only peers whose name contains this, beside ringkv.")
@click.option("--large", is_flag=True, help="Also pack ten times the pairs.")
@click.option("--scaling", is_flag=True, help="Also a hundredth to ten times the pairs, and 1 to 16 shards.")
@click.option(
    "--patience",
    type=click.FloatRange(0),
    default=300,
    show_default=True,
    help="Seconds that may be waited in all until nobody else uses the machine.",
)
@click.option("--work", type=click.Path(path_type=Path), default=Path("build/bench"), show_default=True)
@click.option("--docs", type=click.Path(path_type=Path), default=Path("docs"), show_default=True)
def main(  # noqa: PLR0913, PLR0917 - click passes by name
    steps: tuple[str, ...],
    pairs: int,
    rounds: int,
    seconds: float,
    chosen: tuple[str, ...],
    large: bool,  # noqa: FBT001 - as above
    scaling: bool,  # noqa: FBT001 - as above
    patience: float,
    work: Path,
    docs: Path,
) -> None:
    """Measure ringkv and its peers. STEPS are all but the slow ones by default; `report` measures nothing.

    What each step has measured stays in WORK/results, and the report is always about all that is there.
    """
    # Both end what was started. Who was started in the background by a shell would not even hear of the first.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    wanted = [*(steps or STEPS), *(["large"] if large else []), *(["scaling"] if scaling else [])]
    work, scale = work.resolve(), Scale(rounds, seconds)
    peers = tuple(peer for peer in PEERS if peer.name == "ringkv" or not chosen or any(c in peer.name for c in chosen))
    quiet = Quiet(patience)
    data = prepare(work, pairs) if wanted != ["report"] else None
    with tempfile.TemporaryDirectory(prefix="rkv-bench-") as name:
        folder = Path(name)
        for step in dict.fromkeys(wanted):
            if data is None or step == "report":
                continue
            if step in NEEDS_WRK and not load.installed():
                click.echo(f"{step}: not measured, because wrk is not installed (Debian package wrk)")
                continue
            run: dict[str, Callable[[Figures], None]] = {
                "memory": lambda found: hold(data, folder, found),
                "lookup": lambda found: look_up(data, found),
                "startup": lambda found: start_up(data, rounds, folder, quiet, found),
                "pack": lambda found: pack(data, rounds, folder, quiet, found),
                "serve": lambda found: serve(peers, data, scale, folder, quiet, found),
                "redis": lambda found: pipeline(data, scale, folder, quiet, found),
                "mget": lambda found: batches(data, scale, folder, quiet, found),
                "large": lambda found: pack_large(data, prepare(work, 10 * pairs), quiet, found),
                "scaling": lambda found: grow(work, folder, pairs, scale, quiet, found),
            }
            _measure(step, run[step], quiet, work / "results")
    figures = Figures()
    for step in (*STEPS, *OPTIONAL_STEPS):
        with suppress(FileNotFoundError):
            figures.read(work / "results" / f"{step}.json")
    report(figures, docs)


def _measure(step: str, run: Callable[[Figures], None], quiet: Quiet, results: Path) -> None:
    click.secho(f"{step} (load average {load_average()})", bold=True)
    figures, before, repeated = Figures(notes=machine()), load_average(), quiet.repeated
    del figures.notes["load average"]
    run(figures)
    figures.notes[f"load average, {step}"] = f"{before} before, {load_average()} after"
    if again := quiet.repeated - repeated:
        figures.notes[f"measured again, {step}"] = f"{again} times, because others used the machine"
    figures.write(results / f"{step}.json")


if __name__ == "__main__":
    main(prog_name="python -m bench")
