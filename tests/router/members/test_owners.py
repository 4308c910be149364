"""Partitions gain owners while these are overloaded with them, lose them when they have cooled, and never in turn."""

from collections.abc import Mapping

import pytest

from ringkv.cluster.hot import NO_EXTRA, Extra, Load
from ringkv.cluster.lease import Offered
from ringkv.cluster.place import Place
from ringkv.cluster.ring import Ring, build_ring
from ringkv.router.members.owners import ExtraOwners
from ringkv.router.policy import COOL_AFTER, HOT_AFTER

NAMES = ("a", "b", "c", "d")
HOT = 17


class Router:
    """A router that swaps at once, with a clock that is moved by hand."""

    def __init__(self, budget: int = 8, replicas: int = 1, places: Mapping[str, Place] | None = None) -> None:
        self.now = 50.0
        self.owners = ExtraOwners(budget, lambda: self.now)
        self.places = places or {}
        self.replicas = replicas
        self.ring = build_ring(NAMES, replicas, 256, self.places)
        self.told: list[str] = []

    def look(self, loads: Mapping[str, Load], seconds: float = 0, *others: Extra) -> None:
        """Look for so many seconds, twice a second, while shards tell these loads and what others have said."""
        for _ in range(1 + int(2 * seconds)):
            self.owners.look(self.ring, loads, others)
            before, self.ring = self.ring, self.next()
            self.told += self.owners.account(before, self.ring)
            self.now += 0.5

    def next(self) -> Ring:
        return build_ring(NAMES, self.replicas, 256, self.places, self.owners.extra.counts)

    def loads(self, busy: int, part: int, partition: int = HOT, others: int = 0) -> dict[str, Load]:
        """Those of shards of which the owners of a partition are busy with it."""
        owners = self.ring.owners[partition]
        return {name: Load(busy, ((partition, part),)) if name in owners else Load(others) for name in NAMES}

    @property
    def counts(self) -> dict[int, int]:
        assert self.ring.extra == self.owners.extra.counts
        return dict(self.ring.extra)


def test_a_partition_that_is_hot_for_long_enough_gains_an_owner() -> None:
    router = Router()
    (owner,) = router.ring.owners[HOT]
    router.look(router.loads(95, 70), HOT_AFTER - 1)
    assert router.counts == {}
    router.look(router.loads(95, 70), 1)
    assert router.counts == {HOT: 1}
    (extra,) = router.ring.extra_owners[HOT]
    assert router.told == [f"partition {HOT} gains {extra}: it takes 70 % of the time of {owner}, busy for 95 % of it"]


@pytest.mark.parametrize(("busy", "part"), [(74, 74), (100, 24), (0, 0)])
def test_what_the_owners_can_bear_moves_nothing(busy: int, part: int) -> None:
    router = Router()
    router.look(router.loads(busy, part), 100)
    assert router.owners.extra == NO_EXTRA


def test_what_is_hot_for_a_moment_again_and_again_moves_nothing() -> None:
    router = Router()
    for _ in range(20):
        router.look(router.loads(95, 70), HOT_AFTER - 1)
        router.look(router.loads(10, 1), 1)
    assert router.owners.extra == NO_EXTRA


def test_it_gains_more_as_long_as_all_of_them_are_overloaded_and_there_are_shards() -> None:
    router = Router()
    for owners in (2, 3, 4):
        router.look(router.loads(100, 90), HOT_AFTER + 0.5)
        assert len(router.ring.owners[HOT]) == owners
    router.look(router.loads(100, 90), 60)
    assert router.counts == {HOT: 3}


def test_it_gains_no_more_while_one_of_its_owners_has_time_left() -> None:
    router = Router()
    router.look(router.loads(100, 90), HOT_AFTER)
    first, second = router.ring.owners[HOT]
    router.look({first: Load(100, ((HOT, 90),)), second: Load(20, ((HOT, 20),))}, 100)
    assert router.counts == {HOT: 1}


def test_it_loses_them_one_by_one_when_it_has_cooled() -> None:
    router = Router()
    for _ in range(2):
        router.look(router.loads(100, 90), HOT_AFTER + 0.5)
    assert router.counts == {HOT: 2}
    last = router.ring.owners[HOT][-1]
    router.look(router.loads(5, 1), COOL_AFTER - 1)
    assert router.counts == {HOT: 2}
    router.look(router.loads(5, 1), 1)
    assert router.counts == {HOT: 1}
    assert router.told[-1] == f"partition {HOT} loses {last}: it takes 3 % of the time of one shard"
    router.look(router.loads(5, 1), COOL_AFTER + 1)
    assert router.counts == {}
    assert router.owners.extra.serial == 4


@pytest.mark.parametrize("part", [25, 40, 95])
def test_a_load_that_stays_does_not_make_it_gain_and_lose_in_turn(part: int) -> None:
    router = Router()
    for _ in range(40):
        owners = len(router.ring.owners[HOT])
        router.look(router.loads(min(100, 60 // owners + part // owners + 15), part // owners), 10)
    assert router.owners.extra.serial <= 3


def test_what_cannot_be_told_of_all_owners_takes_none_away() -> None:
    router = Router()
    router.look(router.loads(100, 90), HOT_AFTER)
    (owner, _) = router.ring.owners[HOT]
    router.look({owner: Load(0)}, 10 * COOL_AFTER)
    assert router.counts == {HOT: 1}


def test_there_are_no_more_than_the_budget_and_the_hottest_come_first() -> None:
    router = Router(budget=2)
    parts = {name: router.ring.owned_by(name)[0] for name in NAMES[:3]}
    loads = {name: Load(100, ((parts[name], 90 - place),)) for place, name in enumerate(NAMES[:3])} | {"d": Load(0)}
    router.look(loads, 200)
    assert router.counts == {parts["a"]: 1, parts["b"]: 1}


def test_without_a_budget_there_are_none_whatever_others_say() -> None:
    router = Router(budget=0)
    router.look(router.loads(100, 90), 200, Extra(7, ((HOT, 1),)))
    assert router.owners.extra == NO_EXTRA


def test_what_another_router_has_said_later_is_taken_over_at_once() -> None:
    router = Router()
    router.look({}, 0, Extra(7, ((HOT, 2),)), Extra(3, ()))
    assert router.owners.extra == Extra(7, ((HOT, 2),))
    assert router.told == [
        f"partition {HOT} gains {' and '.join(router.ring.owners[HOT][1:])}: another router has seen why"
    ]
    router.look({}, 0, Extra(8, ()), Extra(7, ((HOT, 2),)))
    assert router.owners.extra == Extra(8, ())
    router.look({}, 0, Extra(8, ((256, 1),)))
    assert router.owners.extra == Extra(8, ()), "there is no such partition"


def test_routers_that_decide_at_once_come_to_the_same() -> None:
    one, other = Router(), Router()
    first, second = one.ring.owned_by("a")[0], one.ring.owned_by("b")[0]
    one.look(one.loads(100, 90, first), HOT_AFTER)
    other.look(other.loads(100, 90, second), HOT_AFTER)
    said = one.owners.extra, other.owners.extra
    assert said == (Extra(1, ((first, 1),)), Extra(1, ((second, 1),)))
    one.look({}, 0, *said)
    other.look({}, 0, *said)
    assert one.owners.extra == other.owners.extra
    assert one.ring == other.ring


def test_data_with_other_partitions_begin_with_none() -> None:
    router = Router()
    router.look(router.loads(100, 90), HOT_AFTER)
    extra = router.owners.extra
    assert router.owners.of(Offered(2, "d" * 32, 256)) == extra
    assert router.owners.of(Offered(2, "d" * 32, 512)) == router.owners.of(None) == NO_EXTRA
    router.owners.look(build_ring(NAMES, 1, 512), {}, [])
    assert router.owners.extra == NO_EXTRA


def test_a_zone_whose_owners_are_overloaded_is_helped_though_others_are_idle() -> None:
    router = Router(replicas=2, places={"a": Place("x"), "b": Place("x"), "c": Place("y"), "d": Place("y")})
    busy, idle = router.ring.owners[HOT]
    loads = {busy: Load(100, ((HOT, 80),)), idle: Load(3)}
    router.look({name: loads.get(name, Load(0)) for name in NAMES}, HOT_AFTER)
    assert router.counts == {HOT: 1}
