"""`python -m bench remote`: three shards whose data lie in a store, an nginx of the benchmark's own.

publish ─► empty caches: first answer, misses, hydration beside curl ─► warm: requests/s beside local files
        ─► reads of what is warm while the rest is fetched ─► a restart ─► a fourth shard

What is fetched is counted by the store, in its log, and not by who fetches.
"""

import re
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from http.client import HTTPConnection, HTTPException
from itertools import cycle
from pathlib import Path
from typing import Any, Final, NamedTuple

import click
import numpy as np

from bench.data import generate, sample_keys
from bench.errors import BenchmarkFailed
from bench.figures import RINGKV, Figures
from bench.load import Endpoint, measure
from bench.peers.nginx import start_nginx
from bench.processes import Processes, run
from bench.quiet import Quiet
from bench.sample import Pair, Sampler
from ringkv.dataset.catalog import Catalog
from ringkv.resp import codec

CURL: Final = "curl"
LOCAL: Final = "local files"

SHARDS: Final = 3
CONNECTIONS: Final = 64
ASKED: Final = 2000
"""Keys that are asked for one after the other, each in a block of its own."""

AT_ONCE: Final = 50
"""How many of them are asked for between two looks whether all is warm."""

WARM_POLL: Final = 0.01
"""Seconds between two looks at whether all is warm: each takes a fraction of a millisecond from who fetches."""

WARM_PATIENCE: Final = 120.0
"""Seconds after which what is leased is not going to be here."""

NO_LIMIT: Final = "1000G"
"""A fetch rate that never holds a request up."""


class Fetched(NamedTuple):
    """What the store was asked for, of segments."""

    requests: int
    bytes: int

    def __sub__(self, before: Any) -> "Fetched":
        return Fetched(self.requests - before.requests, self.bytes - before.bytes)


class Store:
    """nginx, which serves the catalog and writes down what it sends."""

    def __init__(self, processes: Processes, catalog: Path) -> None:
        self._log = processes.folder.resolve() / "sent.log"
        form = "log_format sent '$msec $request_time $body_bytes_sent $uri';"
        endpoint = start_nginx(processes, form, f"root {catalog}; access_log {self._log} sent;")
        self.url = f"http://127.0.0.1:{endpoint.port}"

    def fetched(self) -> Fetched:
        """So far."""
        sent = [int(size) for _, _, size in self._sent()]
        return Fetched(len(sent), sum(sent))

    def began(self, number: int) -> float:
        """When the first request after so many others came, as time.time() has it."""
        return min(float(end) - float(took) for end, took, _ in self._sent()[number:])

    def _sent(self) -> list[list[str]]:
        lines = [line.split() for line in self._log.read_text().splitlines()]
        return [words[:3] for words in lines if "/segment-" in words[3]]


class Leased(NamedTuple):
    """What a shard tells of its leased blocks: their keys, their bytes, and how many bytes are here and checked."""

    keys: int
    bytes: int
    checked: int


class Cluster:
    """Shards of one source, each with a cache of its own, and a router."""

    def __init__(self, processes: Processes, source: str | Path, caches: Path, *options: str) -> None:
        self.processes = processes
        self._source = source
        self._caches = caches
        self._options = options
        self._sockets = [f"{processes.folder}/shard-{number}" for number in range(1, SHARDS + 2)]
        for number in range(SHARDS):
            self.start(number)
        for number in range(SHARDS):
            processes.wait_for(lambda: self._said(number, "ready on"), "a shard did not start")  # noqa: B023 - called here
        listed = ",".join(f"unix:{path}" for path in self._sockets)
        command = [sys.executable, "-m", "ringkv", "router", "--shards", listed, "--listen", "127.0.0.1:0"]
        processes.start("router", *command)
        log = processes.folder / "router.log"
        pattern = re.compile(r"router listens on 127\.0\.0\.1:(\d+)")
        self.port = int(processes.wait_for(lambda: pattern.search(log.read_text()), "the router did not start")[1])

    def start(self, number: int) -> None:
        name = f"shard-{number + 1}"
        command = [sys.executable, "-m", "ringkv", "shard", self._source, "--listen", f"unix:{self._sockets[number]}"]
        command += ["--name", name, "--leased", *self._options]
        self.processes.start(name, *command, "--cache", self._caches / name)

    def told(self, number: int) -> Leased:
        """What a shard has leased now."""
        found = re.findall(rb"\r\n(?:leased_keys|leased_bytes|checked_bytes):(\d+)", self._ask(number, "INFO", "shard"))
        if len(found) != len(Leased._fields):
            raise BenchmarkFailed("a shard does not tell what it has leased")
        return Leased(*map(int, found))

    def fetch_rate(self, rate: str) -> None:
        """Of all shards, from now on."""
        for number in range(SHARDS):
            if (reply := self._ask(number, "CONFIG", "SET", "fetch-rate", rate)) != b"+OK\r\n":
                raise BenchmarkFailed(f"CONFIG SET fetch-rate: {reply!r}")

    def owned(self, shards: int = SHARDS) -> int:
        """Bytes that these shards may answer of."""
        return sum(self.told(number).bytes for number in range(shards))

    def is_warm(self, shards: int = SHARDS) -> bool:
        """Whether all that is leased is here and checked."""
        return all(0 < leased.bytes == leased.checked for leased in map(self.told, range(shards)))

    def wait_until_warm(
        self, shards: int = SHARDS, meanwhile: Callable[[], None] = lambda: time.sleep(WARM_POLL)
    ) -> None:
        """Until that is so, doing this again and again."""
        until = time.monotonic() + WARM_PATIENCE
        while True:
            meanwhile()
            if self.is_warm(shards):
                return
            if time.monotonic() > until:
                raise BenchmarkFailed(f"what is leased was not here after {WARM_PATIENCE:.0f} s")

    def _ask(self, number: int, *words: str) -> bytes:
        """The reply of a shard, which has to be a short one."""
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(self._sockets[number])
            client.sendall(codec.array(list(map(codec.bulk, words))))
            return client.recv(1 << 16)

    def _said(self, number: int, what: str) -> bool:
        return what in (self.processes.folder / f"shard-{number + 1}.log").read_text()


@dataclass(frozen=True, slots=True)
class Remote:
    """A measurement: of what, how often, where, and where its figures go."""

    pairs: int
    rounds: int
    seconds: float
    work: Path
    folder: Path
    quiet: Quiet
    figures: Figures

    @property
    def catalog(self) -> Path:
        return self.work / f"{self.pairs}.catalog"

    @property
    def caches(self) -> Path:
        return self.work / "caches"

    @property
    def keys(self) -> Path:
        return self.work / f"{self.pairs}.keys"

    def add(self, subject: str, quantity: str, value: float) -> None:
        self.figures.add(subject, quantity, value, self.pairs)


def measure_remote(remote: Remote) -> None:
    """All of it. Raises BenchmarkFailed."""
    dataset = _publish(remote)
    pairs = Sampler(dataset).one_a_block(4 * ASKED)
    pairs = pairs[: len(pairs) // 4]  # so that most is still to be fetched when they are here
    if not remote.keys.exists():
        remote.keys.write_bytes(b"\n".join(sample_keys(dataset, 100_000)) + b"\n")
    segments = sorted(dataset.glob("segment-*"))
    for number in range(1, remote.rounds + 1):
        with _store(remote) as store:
            remote.quiet.wait()
            seconds = _curl(remote, store, dataset, segments)
            remote.add(CURL, "hydration", seconds)
            click.echo(f"round {number}: curl of all segments: {seconds:.2f} s")
            _from_nothing(remote, store, pairs)
        with _store(remote) as store:
            remote.quiet.wait()
            _meanwhile(remote, store, pairs)
    with _store(remote) as store:
        _when_warm(remote, store)
        _again(remote, store)
    shutil.rmtree(remote.caches, ignore_errors=True)


def _publish(remote: Remote) -> Path:
    """The folder of the dataset in the catalog."""
    if not remote.catalog.exists():
        text = generate(remote.work, remote.pairs)
        run(sys.executable, "-m", "ringkv", "publish", text, remote.catalog)
    current = Catalog.at(remote.catalog).current()
    assert current is not None
    return remote.catalog / current.version.folder


@contextmanager
def _store(remote: Remote) -> Iterator[Store]:
    shutil.rmtree(remote.caches, ignore_errors=True)
    with Processes(remote.folder / "store") as processes:
        yield Store(processes, remote.catalog)


def _curl(remote: Remote, store: Store, dataset: Path, segments: list[Path]) -> float:
    """Seconds for all segments, written to files beside the caches."""
    remote.caches.mkdir(parents=True)
    urls = [f"{store.url}/{dataset.name}/{segment.name}" for segment in segments]
    return run("curl", "--silent", "--fail", "--remote-name-all", "--output-dir", remote.caches, *urls)


def _from_nothing(remote: Remote, store: Store, pairs: list[Pair]) -> None:
    """First answer, what a miss takes, and how long until all that is owned is here."""
    shutil.rmtree(remote.caches)
    with Processes(remote.folder / "r") as processes:
        before = store.fetched()
        cluster = Cluster(processes, store.url, remote.caches, "--warm-rate", NO_LIMIT)
        began = time.perf_counter()
        _ask(cluster.port, pairs[:1])
        remote.add(RINGKV, "remote first answer", time.perf_counter() - began)
        cluster.wait_until_warm()
        took = time.time() - store.began(before.requests)
        remote.add(RINGKV, "hydration", took)
        fetched, owned = store.fetched() - before, cluster.owned()
        remote.add(RINGKV, "fetched beyond owned", fetched.bytes / owned)
        remote.add(RINGKV, "fetch requests", fetched.requests)
        click.echo(
            f"  hydration: {took:.2f} s, {fetched.requests} requests, {fetched.bytes / 1e6:.1f} MB,"
            f" {fetched.bytes / owned:.2f} times what is owned"
        )


def _meanwhile(remote: Remote, store: Store, pairs: list[Pair]) -> None:
    """What a miss takes; and a read of what is here, while nothing is fetched ahead and while all is."""
    with Processes(remote.folder / "r") as processes:
        cluster = Cluster(processes, store.url, remote.caches, "--warm-rate", NO_LIMIT, "--fetch-rate", "1")
        misses = _ask(cluster.port, pairs)
        remote.add(RINGKV, "remote miss p99", float(np.percentile(misses, 99)))
        alone = float(np.percentile(_ask(cluster.port, pairs), 99))
        cluster.fetch_rate("0")
        times: list[float] = []
        parts = cycle(pairs[first : first + AT_ONCE] for first in range(0, len(pairs), AT_ONCE))
        cluster.wait_until_warm(meanwhile=lambda: times.extend(_ask(cluster.port, next(parts))))
        during = float(np.percentile(times, 99))
        remote.add(RINGKV, "warm p99 alone", alone)
        remote.add(RINGKV, "warm p99 during hydration", during)
        click.echo(
            f"  a miss: p99 {1e3 * np.percentile(misses, 99):.2f} ms; what is here: p99 {1e3 * alone:.2f} ms,"
            f" during hydration {1e3 * during:.2f} ms"
        )


def _when_warm(remote: Remote, store: Store) -> None:
    """Requests a second beside a cluster of the same files on this machine, in turn."""
    with Processes(remote.folder / "r") as there, Processes(remote.folder / "l") as here:
        clusters = {
            RINGKV: Cluster(there, store.url, remote.caches, "--warm-rate", NO_LIMIT),
            LOCAL: Cluster(here, remote.catalog, remote.caches, "--warm-rate", NO_LIMIT),
        }
        for cluster in clusters.values():
            cluster.wait_until_warm()
        for number in range(2 * remote.rounds + 1):
            for name, cluster in clusters.items() if number % 2 else reversed(clusters.items()):
                once = partial(measure, Endpoint(cluster.port), remote.keys, pids=cluster.processes.pids)
                once = partial(once, connections=CONNECTIONS, seconds=remote.seconds, seed=number + 1)
                found = remote.quiet.measured(once)
                if number:  # the first round is for what begins slowly
                    remote.add(name, "warm rate", found.rate)
                    click.echo(f"warm, {name}: {found.rate:,.0f}/s, {found.failed} failed")


def _again(remote: Remote, store: Store) -> None:
    """What a restart fetches, and what a fourth shard has to move."""
    before = store.fetched()
    with Processes(remote.folder / "r") as processes:
        cluster = Cluster(processes, store.url, remote.caches, "--warm-rate", NO_LIMIT)
        cluster.wait_until_warm()
        restart = store.fetched() - before
        remote.add(RINGKV, "fetched by a restart", restart.bytes)
        click.echo(f"a restart: {restart.requests} requests, {restart.bytes:,} bytes")
        cluster.start(SHARDS)
        processes.wait_for(lambda: _has_joined(cluster), "the fourth shard did not join")
        cluster.wait_until_warm(SHARDS + 1)
        moved = cluster.told(SHARDS).bytes
        fetched = store.fetched() - before
        remote.add(RINGKV, "fetched beyond moved", fetched.bytes / moved)
        click.echo(f"a fourth shard: {fetched.requests} requests, {fetched.bytes / moved:.2f} times what moved to it")


def _has_joined(cluster: Cluster) -> bool:
    with suppress(OSError, BenchmarkFailed):  # before it listens, and before it has leased
        return cluster.told(SHARDS).bytes > 0
    return False


def _ask(port: int, pairs: list[Pair]) -> list[float]:
    """Seconds that each request took, one after the other. Raises BenchmarkFailed if an answer is wrong."""
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    times = []
    try:
        for key, value in pairs:
            began = time.perf_counter()
            connection.request("GET", f"/{key.decode()}")
            answer = connection.getresponse()
            body = answer.read()
            times.append(time.perf_counter() - began)
            if (answer.status, body) != (200, value):
                raise BenchmarkFailed(f"GET of {key.decode()}: {answer.status} {body[:200]!r}")
    except (OSError, HTTPException) as error:
        raise BenchmarkFailed(f"GET: {error}") from error
    finally:
        connection.close()
    return times
