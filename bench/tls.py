"""`python -m bench tls`: requests a second with TLS and without, of ringkv and of nginx in front of memcached."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench.data import Data
from bench.figures import Figures
from bench.peers.nginx import NginxMemcached, SecuredNginxMemcached
from bench.peers.peer import Peer
from bench.peers.ringkv import Ringkv, SecuredRingkv
from bench.quiet import Quiet
from bench.serving import Scale, serve

PEERS: Final[tuple[Peer, ...]] = (Ringkv(), SecuredRingkv(), NginxMemcached(), SecuredNginxMemcached())
CONNECTIONS: Final = (64,)
"""That are kept: a handshake is the cost of a connection, and not of a request."""


def encrypt(data: Data, scale: Scale, folder: Path, quiet: Quiet, figures: Figures) -> None:
    """Measure them in turn. Raises BenchmarkFailed."""
    found = Figures()
    serve(PEERS, data, Scale(scale.rounds, scale.seconds, CONNECTIONS), folder, quiet, found)
    figures.missing |= found.missing
    for (subject, quantity, at), values in found.samples.items():
        figures.samples[subject, f"tls {quantity}", at] = values


def with_tls(figures: Figures) -> list[Sequence[str]]:
    """What it has measured; the first row is the heading."""
    rows: list[Sequence[str]] = [("who", "requests/s", "p50 ms", "p99 ms", "CPU µs", "others")]
    for subject in figures.subjects("tls rate"):
        (at,) = CONNECTIONS
        found = {
            name: figures.median(subject, f"tls {name}", at) or 0 for name in ("rate", "p50", "p99", "cpu", "others")
        }
        waits = (f"{1e3 * found[name]:.2f}" for name in ("p50", "p99"))
        rows.append((subject, f"{found['rate']:,.0f}", *waits, f"{1e6 * found['cpu']:.1f}", f"{found['others']:.2f}"))
    return rows
