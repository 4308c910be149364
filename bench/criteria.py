"""What this project promises, each promise a figure and its limit: a missed one is shown as such."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from bench.direct import QUANTITIES, REDIS_CLUSTER, SHARDS
from bench.figures import RINGKV, Figures
from bench.fio import FIO
from bench.large import HANG, HANG_2, KILL
from bench.large import SORT as SORT_LARGE
from bench.memory import REDIS
from bench.mget import BATCHES, SINGLES
from bench.openloop import SHARES
from bench.pack import REDIS as REDIS_PIPE
from bench.pack import SORT
from bench.plan import furthest
from bench.redis import CONNECTIONS, DEPTH, HTTP, REDIS_PORT
from bench.remote import CURL, LOCAL
from bench.skew import WITHOUT

NGINX: Final = "nginx + 3 memcached"
WEBDIS: Final = "webdis + Redis"
HAPROXY: Final = "HAProxy + 3 shards"
PROXY: Final = "aiohttp proxy + 3 aiohttp"
FLOOR: Final = "nginx return 200"

Verdict = Literal["pass", "FAIL", "not measured"]


@dataclass(frozen=True, slots=True)
class Criterion:
    """`least` or `most` is the limit; `unit` stands behind both the figure and the limit."""

    text: str
    figure: Callable[[Figures], float | None]
    least: float | None = None
    most: float | None = None
    unit: str = "x"

    def verdict(self, found: float | None) -> Verdict:
        if found is None:
            return "not measured"
        kept = (self.least is None or found >= self.least) and (self.most is None or found <= self.most)
        return "pass" if kept else "FAIL"

    def limit(self) -> str:
        return f"≥ {self.least:g}{self.unit}" if self.least is not None else f"≤ {self.most:g}{self.unit}"


def _against(theirs: str, quantity: str, at: int) -> Callable[[Figures], float | None]:
    return lambda figures: figures.ratio(quantity, RINGKV, theirs, at)


def _direct(theirs: str, quantity: str, at: int = CONNECTIONS, depth: int = 1) -> Callable[[Figures], float | None]:
    return lambda figures: figures.ratio(f"{QUANTITIES[depth]} {quantity}", SHARDS, theirs, at)


def _own(quantity: str, scale: float = 1) -> Callable[[Figures], float | None]:
    def figure(figures: Figures) -> float | None:
        found = figures.median(RINGKV, quantity, max(figures.points(RINGKV, quantity), default=0))
        return None if found is None else found / scale

    return figure


def _beside(theirs: str, quantity: str) -> Callable[[Figures], float | None]:
    """The ratio at the one point, whichever that is, at which both were measured."""

    def figure(figures: Figures) -> float | None:
        return figures.ratio(quantity, RINGKV, theirs, max(figures.points(RINGKV, quantity), default=0))

    return figure


def _drawn(draw: str) -> Callable[[Figures], float | None]:
    """Requests a second for keys drawn so, against those for keys drawn evenly."""

    def figure(figures: Figures) -> float | None:
        found, even = figures.median(RINGKV, f"rate {draw}"), figures.median(RINGKV, "rate even")
        return found / even if found and even else None

    return figure


def _memory(quantity: str) -> Callable[[Figures], float | None]:
    """Against what Redis has resident for the same pairs."""

    def figure(figures: Figures) -> float | None:
        ours, theirs = figures.median(RINGKV, quantity), figures.median(REDIS, "held")
        return ours / theirs if ours and theirs else None

    return figure


def _growth(quantity: str) -> Callable[[Figures], float | None]:
    """The figure at the largest point against that at the smallest."""

    def figure(figures: Figures) -> float | None:
        points = figures.points(RINGKV, quantity)
        first, last = (figures.median(RINGKV, quantity, at) for at in (min(points), max(points))) if points else (0, 0)
        return last / first if first and last else None

    return figure


def _lost(trouble: str, quantity: str) -> Callable[[Figures], float | None]:
    """What was suffered when a shard was lost, at the largest size."""

    def figure(figures: Figures) -> float | None:
        return figures.median(trouble, f"lost {quantity}", max(figures.points(trouble, f"lost {quantity}"), default=0))

    return figure


def _during_hydration(figures: Figures) -> float | None:
    """At the largest size."""
    at = max(figures.points(RINGKV, "warm p99 alone"), default=0)
    during, alone = (figures.median(RINGKV, f"warm p99 {when}", at) for when in ("during hydration", "alone"))
    return during / alone if during and alone else None


def _misses(which: Callable[[list[int]], int]) -> Callable[[Figures], float | None]:
    """A miss against a hit at one of the sizes that were looked up."""

    def figure(figures: Figures) -> float | None:
        points = figures.points(RINGKV, "hot hits")
        hit, miss = (figures.median(RINGKV, f"hot {kind}", which(points or [0])) for kind in ("hits", "misses"))
        return miss / hit if hit and miss else None

    return figure


CRITERIA: Final = (
    Criterion(f"requests/s against {NGINX}, 16 connections", _against(NGINX, "rate", 16), least=1.0),
    Criterion(f"requests/s against {NGINX}, 64 connections", _against(NGINX, "rate", 64), least=1.5),
    Criterion(f"requests/s against {NGINX}, 256 connections", _against(NGINX, "rate", 256), least=2.0),
    Criterion(f"p50 against {NGINX}, 1 connection", _against(NGINX, "p50", 1), most=1.0),
    Criterion(f"p99 against {NGINX}, 64 connections", _against(NGINX, "p99", 64), most=1.0),
    Criterion(f"CPU a request against {NGINX}, 64 connections", _against(NGINX, "cpu", 64), most=0.65),
    Criterion(f"requests/s against {WEBDIS}, 64 connections", _against(WEBDIS, "rate", 64), least=1.4),
    Criterion(f"requests/s against {HAPROXY}, 64 connections", _against(HAPROXY, "rate", 64), least=2.0),
    Criterion(f"requests/s against {PROXY}, 64 connections", _against(PROXY, "rate", 64), least=8.0),
    Criterion(f"requests/s against {FLOOR}, 256 connections", _against(FLOOR, "rate", 256), least=0.75),
    Criterion(
        f"p99 against {NGINX}, asked at the same rate, {max(SHARES)} % of the most",
        _against(NGINX, "open p99", max(SHARES)),
        most=1.0,
    ),
    Criterion(
        "pipelined GETs/s over the Redis port against HTTP, 64 connections",
        lambda figures: figures.ratio("port rate", REDIS_PORT, HTTP, CONNECTIONS),
        least=4.0,
    ),
    Criterion(
        "keys/s in batches of 1,000 against single GETs, 64 connections",
        lambda figures: figures.ratio("keys a second", BATCHES, SINGLES),
        least=6.0,
    ),
    Criterion("GETs/s of three shards against a Redis Cluster", _direct(REDIS_CLUSTER, "rate"), least=0.9),
    Criterion(
        f"the same in pipelines of {DEPTH}",
        _direct(REDIS_CLUSTER, "rate", depth=DEPTH),
        least=0.55,
    ),
    Criterion("GETs/s of three shards against their router over HTTP", _direct(HTTP, "rate"), least=1.8),
    Criterion("CPU a GET of three shards against their router over HTTP", _direct(HTTP, "cpu"), most=0.6),
    Criterion("p50 of a shard against the router over HTTP, 1 connection", _direct(HTTP, "p50", at=1), most=0.7),
    Criterion("requests/s for Zipf's keys (0.99) against even ones, 64 connections", _drawn("zipf"), least=1.35),
    Criterion("requests/s for one hot key against even ones, 64 connections", _drawn("one"), least=1.5),
    Criterion(
        f"requests/s for even keys against {WITHOUT}, 64 connections",
        lambda figures: figures.ratio("rate even", RINGKV, WITHOUT),
        least=0.98,
    ),
    # The result depends on how memory that forked processes share is counted: all three ways are shown.
    Criterion("packed file and anonymous memory of all shards (PSS) against Redis", _memory("held"), most=0.8),
    Criterion("the same, pages that processes share counted in each shard", _memory("held, each"), most=0.8),
    Criterion("the same of the whole cluster, the router too (PSS)", _memory("held by the whole cluster"), most=0.8),
    Criterion("packed file beyond the values, a key", _own("packed beyond values"), most=30, unit=" B"),
    Criterion("first answer, packed file to be made", _own("start cold"), most=4, unit=" s"),
    Criterion("first answer, packed file in the cache", _own("start warm"), most=1.5, unit=" s"),
    Criterion("packing against `LC_ALL=C sort`", _beside(SORT, "pack"), most=2.0),
    Criterion("packing against `redis-cli --pipe`", _beside(REDIS_PIPE, "pack"), most=0.6),
    Criterion("packing ten times the pairs (10M against 1M)", _growth("pack growth"), most=11),
    Criterion("resident while packing ten times the pairs", _own("pack resident", 1e9), most=1.5, unit=" GB"),
    Criterion(f"keys from disk a second against {FIO}", _beside(FIO, "cold rate"), least=0.6),
    Criterion("keys from disk a second", _own("cold rate"), least=15_000, unit="/s"),
    Criterion("p99 of hot keys beside keys from disk", _own("hot p99", 1e-3), most=5, unit=" ms"),
    Criterion("first answer of a large dataset, warm", _own("large start warm"), most=1.5, unit=" s"),
    Criterion("first answer of a large dataset, from disk", _own("large start cold"), most=1.5, unit=" s"),
    Criterion("requests that fail when a shard is killed, from disk, R=1", _lost(KILL, "failed"), most=0, unit=""),
    Criterion("longest wait when a shard is killed, from disk, R=1", _lost(KILL, "longest"), most=0.5, unit=" s"),
    Criterion("longest wait when a shard hangs, from disk, R=1", _lost(HANG, "longest"), most=1.5, unit=" s"),
    Criterion("longest wait when a shard hangs, from disk, R=2", _lost(HANG_2, "longest"), most=0.1, unit=" s"),
    Criterion("a hot lookup, the large dataset against a small one", _growth("hot hits"), most=1.5),
    Criterion("a hot miss against a hot hit, the small dataset", _misses(min), most=2),
    Criterion("a hot miss against a hot hit, the large dataset", _misses(max), most=2),
    Criterion("bytes a key beside its value, the large dataset", _own("large bytes a key"), most=22, unit=" B"),
    Criterion("anonymous memory of a shard, the large dataset", _own("large anonymous", 1e6), most=120, unit=" MB"),
    Criterion(f"packing the large dataset against `{SORT_LARGE}`", _beside(SORT_LARGE, "large pack"), most=0.7),
    Criterion("resident while packing the large dataset", _own("large resident", 1e9), most=0.5, unit=" GB"),
    Criterion("bytes fetched from a store for each that is owned", _own("fetched beyond owned"), most=1.3, unit=""),
    Criterion("bytes fetched for each that moves to a fourth shard", _own("fetched beyond moved"), most=1.3, unit=""),
    Criterion("bytes that a restart fetches", _own("fetched by a restart"), most=0, unit=" B"),
    Criterion("first answer with an empty cache", _own("remote first answer"), most=1.0, unit=" s"),
    Criterion("requests/s with a warm cache against local files", _beside(LOCAL, "warm rate"), least=0.97),
    Criterion("time to fetch all that is owned against curl", _beside(CURL, "hydration"), most=1 / 0.7),
    Criterion("p99 of what is here while the rest is fetched", _during_hydration, most=2.0),
    Criterion(
        "how far `ringkv plan --here` is from what was measured, at most",
        lambda figures: None if (apart := furthest(figures)) is None else 100 * apart,
        most=20,
        unit=" %",
    ),
    Criterion("a lookup, 10M pairs against 10k", _growth("lookup growth"), most=1.5),
    Criterion("CPU a request, 10M pairs against 10k", _growth("cpu by pairs"), most=1.5),
    Criterion("time a request, 10M pairs against 10k", _growth("p50 by pairs"), most=1.5),
)


def promises(figures: Figures) -> list[tuple[str, str, str, Verdict]]:
    """Each promise, what was measured, what is wanted, and whether it is kept."""
    return [_judged(criterion, criterion.figure(figures)) for criterion in CRITERIA]


def _judged(criterion: Criterion, found: float | None) -> tuple[str, str, str, Verdict]:
    shown = "" if found is None else f"{found:.3g}{criterion.unit}"
    return criterion.text, shown, criterion.limit(), criterion.verdict(found)
