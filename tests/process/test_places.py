"""Where there are as many connections as may be, a new one takes a place from none that has asked for something."""

import pytest

from ringkv.process.closings import Reason
from ringkv.process.connections import ConnectionGuard, ConnectionLimits, Waiting

HERE, THERE = ("127.0.0.1", 40_000), ("127.0.0.2", 40_000)


@pytest.fixture(autouse=True)
def _no_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the guard has not seen yet what its clients have asked for."""
    monkeypatch.setattr("ringkv.process.connections.SLICE_SECONDS", 600.0)


class Client:
    """A connection as a guard sees it, which has said nothing so far."""

    def __init__(self, guard: ConnectionGuard, peer: tuple[str, int] = HERE) -> None:
        self.owes: Waiting = ("header", 0)
        self.dropped: Reason | None = None
        guard.admit(self, peer)

    def ask(self) -> None:
        self.owes = ("nothing", 0)

    def waiting(self) -> Waiting:
        return self.owes

    def stall(self, *, stalled: bool) -> None: ...

    def look(self) -> None: ...

    def drop(self, reason: Reason) -> None:
        self.dropped = reason


async def test_no_place_is_taken_from_who_has_asked_since_he_was_looked_at() -> None:
    guard = ConnectionGuard(ConnectionLimits(most=3))
    first, second, third = Client(guard), Client(guard), Client(guard)
    first.ask()
    third.ask()
    fourth = Client(guard)
    assert [client.dropped for client in (first, second, third, fourth)] == [None, "evicted", None, None]
    fourth.ask()
    fifth = Client(guard)
    assert [client.dropped for client in (first, third, fourth, fifth)] == [None, None, None, "refused"]
    assert (guard.closed["evicted"], guard.closed["refused"], len(guard)) == (1, 1, 3)


async def test_an_address_all_of_whose_clients_have_asked_has_no_further_place_and_others_have() -> None:
    guard = ConnectionGuard(ConnectionLimits(per_peer=2))
    first, second = Client(guard), Client(guard)
    first.ask()
    third = Client(guard)
    assert [client.dropped for client in (first, second, third)] == [None, "evicted", None]
    third.ask()
    fourth, other = Client(guard), Client(guard, THERE)
    assert [client.dropped for client in (first, third, fourth, other)] == [None, None, "refused", None]
    guard.leave(first)
    assert Client(guard).dropped is None


async def test_one_who_has_connected_and_said_nothing_is_not_heard_yet() -> None:
    guard = ConnectionGuard()
    assert not guard.unheard()
    first, second = Client(guard), Client(guard)
    first.ask()
    assert guard.unheard()
    second.ask()
    assert not guard.unheard()
