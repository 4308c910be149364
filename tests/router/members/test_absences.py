"""A loss has its end in the log, and a cluster without any shard says so, once."""

from itertools import pairwise

import pytest

from ringkv.router.members.absences import Absences
from ringkv.router.members.events import EventLog
from ringkv.router.policy import DEADLINE


class Told:
    """What was logged, at times that a test sets."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self.now = 100.0
        self.events = EventLog()
        self.absences = Absences(lambda: self.now, self.events)
        self._serving: set[str] = set()
        self._caplog = caplog

    def lose(self, name: str, hold: float = 0.0) -> None:
        self._serving.remove(name)
        self.absences.lost(name, hold)

    def look(self, serving: str, after: float = 0.0) -> list[str]:
        """What is said when these shards serve after so many seconds more."""
        self.now += after
        self.absences.swapped(self._serving, {*serving.split()})
        self._serving = {*serving.split()}
        self.absences.look(self._serving)
        said = [record.message for record in self._caplog.records if record.levelname == "WARNING"]
        self._caplog.clear()
        return said


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Told:
    return Told(caplog)


def test_a_shard_that_was_lost_is_said_to_be_back_once(told: Told) -> None:
    assert told.look("a b") == []
    told.lose("b")
    assert told.look("a") == ["shard b is lost"]
    assert told.look("a", 2.0) == []
    assert told.look("a b", 0.5) == ["shard b is back after 2.5 s"]
    assert told.look("a b", 1.0) == []


def test_a_shard_that_leaves_and_comes_back_is_an_event_and_no_warning(told: Told) -> None:
    for serving in ("a b", "a", "a b"):
        assert told.look(serving, 1.0) == []
    texts = [event.text for event in told.events.latest()]
    assert texts == ["a takes part", "b takes part", "b takes part again after 1.0 s"]


def test_a_shard_that_comes_and_goes_is_told_for_how_long_it_is_kept_out(told: Told) -> None:
    assert told.look("a") == []
    told.lose("a", 4.0)
    assert told.look("") == ["shard a is lost; kept out for 4 s"]


def test_a_cluster_without_a_shard_says_so_when_requests_begin_to_fail(told: Told) -> None:
    assert told.look("", DEADLINE - 0.1) == []
    assert told.look("", 0.1) == [f"no shard has served for {DEADLINE:.0f} s: requests get 503"]
    assert told.look("", 10.0) == []
    assert told.look("a", 1.0) == ["shards serve after 16.0 s without any"]
    assert told.look("a", 60.0) == []
    assert told.look("") == []
    assert told.look("", DEADLINE) == [f"no shard has served for {DEADLINE:.0f} s: requests get 503"]


def test_a_short_time_without_a_shard_is_nothing_to_tell(told: Told) -> None:
    for now, then in pairwise(["", "a", "", "a", ""]):
        assert told.look(now, DEADLINE / 2) == [], (now, then)
