"""What happens to the cluster is told in its order, bounded, by all workers, and outlives a worker."""

import json
import os
import signal
import sys
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ringkv.process.address import Address
from ringkv.router.figures.chronicle import Chronicle
from ringkv.router.members.events import EventLog, Kind
from ringkv.router.policy import EVENTS_KEPT
from tests.docs.tables import rows
from tests.support.data import EXAMPLE, ROOT, write_pairs
from tests.support.processes import Spawned, Spawner, wait_for
from tests.support.workers import worker_pids


def events(port: int) -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/events", timeout=20) as response:
        found: list[dict[str, Any]] = json.load(response)["events"]
    return found


def wait_for_events(port: int, *kinds: str) -> list[dict[str, Any]]:
    """The events as soon as the last ones are of these kinds."""
    wait_for(lambda: [event["kind"] for event in events(port)][-len(kinds) :] == list(kinds), f"no {kinds}")
    return events(port)[-len(kinds) :]


class Shards:
    """Shards a and b behind one router, started and ended one by one."""

    def __init__(self, spawn: Spawner) -> None:
        self._spawn = spawn
        folder = spawn.directory()
        self.addresses = {name: Address(f"{folder}/{name}", None) for name in "abc"}
        self.running: dict[str, Spawned] = {}
        self.start("a")
        self.start("b")
        listed = ",".join(map(str, self.addresses.values()))
        router = spawn("router", "--shards", listed, "--listen", "127.0.0.1:0")
        self.port = int(router.wait_for_line(r"router listens on 127\.0\.0\.1:(\d+)")[1])

    def start(self, name: str, data: Path = EXAMPLE, said: str = "") -> None:
        args = ["--listen", str(self.addresses[name]), "--name", said or name, "--leased"]
        self.running[name] = self._spawn.run(sys.executable, "-m", "ringkv", "shard", data, *args)
        self.running[name].wait_for_line(r"shard .* ready on")


@pytest.fixture
def shards(spawn: Spawner) -> Shards:
    return Shards(spawn)


def test_what_happens_is_told_in_its_order(shards: Shards, tmp_path: Path) -> None:
    port = shards.port
    first = wait_for_events(port, "start", "join", "join", "swap")
    assert [event["shard"] for event in first] == ["", "a", "b", ""]
    assert first[0]["text"].startswith("the router has started, ringkv ")
    assert "epoch 1" in first[-1]["text"]
    assert {event["worker"] for event in first} == {"router"}

    shards.running["a"].process.kill()
    lost, swap = wait_for_events(port, "loss", "swap")
    assert (lost["shard"], swap["shard"]) == ("a", "")
    assert lost["text"].startswith("a is lost")
    assert "epoch 2" in swap["text"]
    assert "partitions change owner" in swap["text"]

    shards.start("a")
    back, swap = wait_for_events(port, "recovery", "swap")
    assert (back["shard"], swap["shard"]) == ("a", "")
    assert back["text"].startswith("a takes part again after ")

    shards.running["b"].process.send_signal(signal.SIGTERM)
    leaving, _ = wait_for_events(port, "leave", "swap")
    assert (leaving["shard"], leaving["text"]) == ("b", "b is about to leave")
    assert shards.running["b"].wait() == 0

    other = write_pairs(tmp_path / "other.data", {b"f8a24bb8-eff8-41dc-929b-10b4c3e49e05": b"other"})
    shards.start("c", other)
    (refused,) = wait_for_events(port, "refusal")
    assert refused["shard"] == "c"
    assert "is kept out: it serves dataset" in refused["text"]

    times = [datetime.fromisoformat(event["at"]) for event in events(port)]
    assert times == sorted(times)
    assert all(event["at"].endswith("Z") for event in events(port))
    assert all(timedelta() <= datetime.now(UTC) - at < timedelta(minutes=3) for at in times)


def test_why_a_shard_was_lost_stands_before_its_loss(shards: Shards) -> None:
    wait_for_events(shards.port, "swap")
    shards.running["a"].process.send_signal(signal.SIGSTOP)
    trouble, lost, _ = wait_for_events(shards.port, "trouble", "loss", "swap")
    assert trouble["text"] == f"a at {shards.addresses['a']}: no answer in time"
    assert (trouble["shard"], lost["shard"]) == ("a", "a")


def test_a_name_that_is_taken_is_an_event(shards: Shards) -> None:
    wait_for_events(shards.port, "swap")
    shards.start("c", said="a")
    (refused,) = wait_for_events(shards.port, "refusal")
    assert refused["shard"] == "a"
    assert "the name a is taken by" in refused["text"]


def test_only_the_latest_are_remembered() -> None:
    times: Iterator[float] = iter(range(10 * EVENTS_KEPT))
    log = EventLog("router", lambda: next(times))
    for number in range(2 * EVENTS_KEPT):
        log.note(Kind.LOSS, f"shard-{number} is lost", f"shard-{number}")
    assert [event.at for event in log.latest()] == list(range(EVENTS_KEPT, 2 * EVENTS_KEPT))
    assert log.count == 2 * EVENTS_KEPT


def test_what_a_worker_has_told_outlives_it_and_stays_bounded(tmp_path: Path) -> None:
    own, other = tmp_path / "router-1.events", tmp_path / "router-2.events"
    for life in range(3):
        log = EventLog("router-1")
        chronicle = Chronicle(log, own, (other,))
        for _ in range(EVENTS_KEPT // 2):
            log.note(Kind.LOSS, f"in life {life}")
        chronicle.write()
    log.note(Kind.SWAP, "not written yet")
    texts = [event.text for event in chronicle.all()]
    assert len(texts) == EVENTS_KEPT
    assert set(texts) == {"in life 1", "in life 2", "not written yet"}
    # Another worker reads the same, but for what is not written yet, and adds its own.
    second = EventLog("router-2")
    second.note(Kind.START, "the other")
    assert [event.worker for event in Chronicle(second, other, (own,)).all()] == ["router-1"] * EVENTS_KEPT + [
        "router-2"
    ]


def test_every_kind_is_documented() -> None:
    told = [row.pick("Kind") for row in rows((ROOT / "docs" / "operations.md").read_text()) if "Kind" in row.cells]
    assert told == [(str(kind),) for kind in Kind]


def test_nothing_is_written_while_nothing_happens(tmp_path: Path) -> None:
    file = tmp_path / "router-1.events"
    log = EventLog()
    chronicle = Chronicle(log, file)
    chronicle.write()
    assert not file.exists()
    log.note(Kind.START, "started")
    chronicle.write()
    written = file.stat().st_ino
    chronicle.write()
    assert file.stat().st_ino == written


def test_whichever_worker_is_asked_tells_the_events_of_all(spawn: Spawner) -> None:
    cluster = spawn.up(EXAMPLE, "--workers", "2")

    def starts() -> list[str]:
        return sorted(event["worker"] for event in events(cluster.port) if event["kind"] == "start")

    wait_for(lambda: all(starts() == ["router-1", "router-2"] for _ in range(8)))
    os.kill(min(worker_pids(cluster)), signal.SIGKILL)

    def asked() -> list[str]:
        try:
            return starts()
        except OSError:
            return []

    wait_for(lambda: all(len(asked()) == 3 for _ in range(8)))
    assert set(starts()) == {"router-1", "router-2"}
