"""`GET /hot` names the keys that are asked for most, of all workers, and how often about."""

import random
from pathlib import Path

import pytest

from ringkv.router.figures.hottest import HotKey, HotKeys
from ringkv.router.lookup.counters import Counters
from ringkv.router.lookup.hot import HotValues
from ringkv.router.policy import HOT_TOLD
from tests.support.data import EXAMPLE, random_keys, read_pairs
from tests.support.http import fetch
from tests.support.processes import Spawner

KEYS = random_keys(400, seed=91)


def asked_for(times: dict[bytes, int]) -> HotValues:
    """Of keys that were asked for so often, in any order."""
    hot = HotValues(1 << 20, Counters())
    hot.begin("a")
    requests = [key for key, count in times.items() for _ in range(count)]
    random.Random(5).shuffle(requests)
    for key in requests:
        if hot.find(key) is None:
            hot.skip -= 1
            if hot.skip < 0:
                hot.look(key, b"v", "a")
    return hot


def test_the_hottest_come_first_and_are_counted_about_right() -> None:
    told = HotKeys(asked_for({KEYS[0]: 40_000, KEYS[1]: 10_000} | dict.fromkeys(KEYS[2:], 20))).all()
    assert [key.key.encode() for key in told.keys[:2]] == KEYS[:2]
    assert len(told.keys) == HOT_TOLD
    assert told.keys[0].requests == pytest.approx(40_000, rel=0.1)
    assert told.keys[1].requests == pytest.approx(10_000, rel=0.1)
    assert told.keys[0].kept


def test_what_nobody_asks_for_again_is_not_hot() -> None:
    assert HotKeys(asked_for(dict.fromkeys(KEYS, 1))).all().keys == ()


def test_whichever_worker_is_asked_tells_those_of_all(tmp_path: Path) -> None:
    files = [tmp_path / "router-1.hot", tmp_path / "router-2.hot"]
    hots = [asked_for({KEYS[0]: 4000, KEYS[1]: 400}), asked_for({KEYS[0]: 4000, KEYS[2]: 8000})]
    workers = [HotKeys(hot, file, (other,)) for hot, file, other in zip(hots, files, reversed(files), strict=True)]
    assert [key.key.encode() for key in workers[0].all().keys] == KEYS[:2]  # the other one has not told yet
    for worker in workers:
        worker.write()
    told = [worker.all() for worker in workers]
    assert told[0].keys == told[1].keys
    assert {key.key.encode() for key in told[0].keys[:2]} == {KEYS[0], KEYS[2]}
    assert sum(key.requests for key in told[0].keys) == pytest.approx(16_400, rel=0.1)
    assert all(isinstance(key, HotKey) for key in told[0].keys)


@pytest.mark.parametrize("options", [(), ("--workers", "2"), ("--hot-memory", "0")])
async def test_a_router_tells_its_hot_keys(spawn: Spawner, options: tuple[str, ...]) -> None:
    cluster = spawn.up(EXAMPLE, "--shards", "1", *options)
    key, value = next(iter(read_pairs(EXAMPLE)))

    async def hottest() -> list[tuple[str, bool]]:
        assert (await fetch(cluster.host, cluster.port, f"/{key.decode()}")).body == value
        told = (await fetch(cluster.host, cluster.port, "/hot")).json
        assert told["seconds"] >= 0
        return [(each["key"], each["kept"]) for each in told["keys"]]

    if "0" in options:
        assert [await hottest() for _ in range(30)] == 30 * [[]]
        return
    while await hottest() != [(key.decode(), True)]:
        pass
    # Another worker hears of it within half a second.
    while not (stats := (await fetch(cluster.host, cluster.port, "/stats")).json)["hot_keys"]:
        pass
    assert stats["hot_bytes"] > len(value)
