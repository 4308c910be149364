"""Requests: every peer in turn, several rounds, so that what else the machine does hits all of them alike.

All processes begin anew in each round: two of the same program, Python's above all, are not equally quick, for as long
as they live. Were they compared through all rounds, this luck would decide.
"""

import http.client
import ssl
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import click

from bench.data import Data
from bench.errors import BenchmarkFailed
from bench.figures import Figures
from bench.load import KEPT, Endpoint, Measured, measure
from bench.peers.peer import Peer, missing
from bench.processes import Processes
from bench.quiet import Quiet
from bench.usage import memory

CONNECTIONS: Final = (1, 16, 64, 256)
WARM_UP: Final = 64
CHECKED: Final = 20
"""Answers of each peer that are compared byte for byte before it is measured."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How often and how long each peer is measured at each number of connections."""

    rounds: int
    seconds: float
    connections: tuple[int, ...] = CONNECTIONS


def serve(  # noqa: PLR0913, PLR0917 - whom, with what, how long, where, when, into what
    peers: tuple[Peer, ...], data: Data, scale: Scale, folder: Path, quiet: Quiet, figures: Figures
) -> None:
    """Start all peers that are installed, and measure them in turn. Raises BenchmarkFailed."""
    for number in range(scale.rounds):
        with ExitStack() as stack:
            running = start_all(peers, data, folder / str(number), stack, figures)
            for _, endpoint, processes in running:
                measure(endpoint, data.keys, connections=WARM_UP, seconds=min(2, scale.seconds), pids=processes.pids)
            for connections in scale.connections if running else ():
                # Each round begins with another peer, so that none is always behind the same one.
                turn = number % len(running)
                for peer, endpoint, processes in running[turn:] + running[:turn]:
                    once = partial(
                        measure,
                        endpoint,
                        data.keys,
                        connections=connections,
                        seconds=scale.seconds,
                        pids=processes.pids,
                    )
                    found = quiet.measured(partial(once, seed=number + 1))
                    _keep(f"round {number + 1}", peer, found, figures)
            for peer, _, processes in running:
                used = memory(processes.pids())
                figures.add(peer.name, "pss", used.pss)
                figures.add(peer.name, "anonymous", used.anonymous_share)


def start_all(
    peers: tuple[Peer, ...], data: Data, folder: Path, stack: ExitStack, figures: Figures
) -> list[tuple[Peer, Endpoint, Processes]]:
    """Start all that are installed, each in a folder of its own, until the stack is left. Raises BenchmarkFailed."""
    running: list[tuple[Peer, Endpoint, Processes]] = []
    for number, peer in enumerate(peers):
        if packages := missing(peer):
            figures.missing[peer.name] = packages
            continue
        click.echo(f"starting {peer.name}")
        processes = stack.enter_context(Processes(folder / f"p{number}"))
        endpoint = peer.start(data, processes)
        check(peer, endpoint, data)
        running.append((peer, endpoint, processes))
    return running


def _keep(title: str, peer: Peer, found: Measured, figures: Figures) -> None:
    for quantity in KEPT:
        figures.add(peer.name, quantity, getattr(found, quantity), found.connections)
    click.echo(f"{title}, {found.connections:3} connections: {peer.name:26} {found}")


def check(peer: Peer, endpoint: Endpoint, data: Data) -> None:
    """Does it answer with the values' own bytes? Raises BenchmarkFailed."""
    connection = _connection(endpoint)
    for key, value in data.first(CHECKED):
        connection.request("GET", endpoint.path(key.decode()))
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200 or (endpoint.exact and body != value):
            connection.close()
            raise BenchmarkFailed(f"{peer.name} answers {answer.status} {body!r} for {key!r} instead of {value!r}")
    connection.close()


def _connection(endpoint: Endpoint) -> http.client.HTTPConnection:
    if endpoint.scheme == "http":
        return http.client.HTTPConnection("127.0.0.1", endpoint.port, timeout=30)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # wrk does not look at certificates either
    return http.client.HTTPSConnection("127.0.0.1", endpoint.port, timeout=30, context=context)
