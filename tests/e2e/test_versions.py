"""What is published is served by a running cluster, unless the gate keeps it out; any version that is held answers."""

import re

import pytest

from tests.support.processes import Spawner, wait_for
from tests.support.published import KEYS, Published, value_of
from tests.support.versioned import Versioned


def cluster_of(spawn: Spawner, published: Published, *options: str) -> Versioned:
    return Versioned(spawn, dict.fromkeys(("one", "two"), published.path), *options)


def test_a_version_that_is_published_is_served_and_the_one_before_can_be_asked_for(
    spawn: Spawner, published: Published
) -> None:
    cluster = cluster_of(spawn, published)
    old, key = published.datasets[1], KEYS[0]
    assert cluster.value(key) == (200, value_of(1, key), old)
    published.publish(2)
    new = published.datasets[2]
    cluster.serves(2)
    assert cluster.value(key) == (200, value_of(2, key), new)
    assert cluster.value(key, old) == (200, value_of(1, key), old)

    told = cluster.ask("versions")
    assert told["swapping"] is None
    assert (told["served"]["dataset"], told["served"]["by"], told["served"]["keys"]) == (new, "a tester@here", 2000)
    assert [kept["dataset"] for kept in told["kept"]] == [old]
    both = [{"serial": 2, "dataset": new}, {"serial": 1, "dataset": old}]
    assert told["offered"] == {"one": both, "two": both}
    ring = cluster.ask("ring")
    assert (ring["serial"], ring["dataset"]) == (2, new)
    assert [shard["serial"] for shard in ring["shards"]] == [2, 2]
    texts = [event["text"] for event in cluster.ask("events")["events"] if event["kind"] == "version"]
    assert re.fullmatch(rf"version 2 \(dataset {new[:12]}\) was published by a tester@here at 20\S+", texts[-2])
    assert re.fullmatch(rf"version 2 \(dataset {new[:12]}\) by a tester@here at 20\S+ is served", texts[-1])

    gone = f"dataset {32 * '0'} is not held; held: {new}, {old}\n"
    assert cluster.value(key, 32 * "0") == (410, gone.encode(), "")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_version_that_lacks_what_is_asked_for_is_refused_until_it_is_forced(
    spawn: Spawner, published: Published, workers: str
) -> None:
    cluster = cluster_of(spawn, published, "--workers", workers)

    def ask_for(count: int) -> None:
        """On many connections, so that each worker is asked."""
        for key in KEYS[:count]:
            cluster.value(key)

    ask_for(300)
    published.put(2, keys=KEYS[1000:])
    published.swap(2)
    refused = r"version 2 is refused: \d+ of \d+ keys that were asked for lately are not in it, more than 10 %"
    cluster.router.wait_for_line(refused)
    wait_for(lambda: len(re.findall(refused, cluster.router.err)) == int(workers), "a worker has not refused it")
    told = cluster.ask("versions")
    assert (told["served"]["serial"], told["swapping"]["serial"]) == (1, 2)
    assert "keys that were asked for lately are not in it" in told["swapping"]["refused"]
    assert cluster.value(KEYS[0]) == (200, value_of(1, KEYS[0]), published.datasets[1])

    published.swap(2, "somebody@else", forced=True)
    wait_for(lambda: cluster.router.err.count("version 3 is forced by somebody@else") == int(workers), "not forced")
    wait_for(lambda: cluster.value(KEYS[0])[0] == 404)

    published.swap(1)
    for _ in range(int(workers)):
        cluster.serves(4)
    wait_for(lambda: cluster.ask("versions")["served"]["serial"] == 4)


def test_neither_routers_nor_shards_that_start_let_in_what_was_refused(spawn: Spawner, published: Published) -> None:
    """Nobody has asked for a key, and what is served is older than all that the catalog names first."""
    cluster = cluster_of(spawn, published)
    refused = r"version %d is refused: \d+ of \d+ keys of what is served are not in it, more than 10 %%"
    for version in (2, 3, 4):
        published.put(version, keys=KEYS[1000:])
        published.swap(version)
        cluster.router.wait_for_line(refused % version)
    cluster.router.process.kill()
    cluster.router.wait()
    cluster.start_router()
    cluster.router.wait_for_line(refused % 4)
    cluster.serves(1)
    cluster.shards["one"].process.kill()
    cluster.shards["one"].wait()
    wait_for(
        lambda: [shard["name"] for shard in cluster.ask("ring")["shards"] if shard["state"] == "serving"] == ["two"]
    )
    cluster.start("one", published.path)
    wait_for(lambda: [shard["state"] for shard in cluster.ask("ring")["shards"]] == ["serving", "serving"])
    assert cluster.ask("versions")["served"]["serial"] == 1
    for key in KEYS[:50]:
        assert cluster.value(key) == (200, value_of(1, key), published.datasets[1])


def test_the_gate_can_be_opened(spawn: Spawner, published: Published) -> None:
    cluster = cluster_of(spawn, published, "--gate", "100%")
    for key in KEYS[:300]:
        cluster.value(key)
    published.put(2, keys=KEYS[1000:])
    published.swap(2)
    cluster.serves(2)
