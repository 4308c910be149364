"""deploy/swarm.yaml on three nodes under load, with two replicas of each key: `make swarm`.

Engines, shards, routers, the store and the load share this machine: what starts takes the time of all others.
"""

from pathlib import Path
from typing import Final

import pytest

from tests.support.data import read_pairs
from tests.support.processes import wait_for
from tests.swarm.conftest import SCALE, Publish, Unharmed
from tests.swarm.stack import CHANGE_PATIENCE, LOOK, Stack

pytestmark = [pytest.mark.swarm, pytest.mark.timeout(900)]

LONGEST: Final = 1.5
"""Seconds that a request may wait, also while a node is lost."""

ASKED: Final = 200
"""Keys that each node is asked for."""


def test_every_node_answers(stack: Stack, text: Path) -> None:
    pairs = list(read_pairs(text))[:ASKED]
    for node in stack.swarm.nodes:
        for key, value in pairs:
            assert stack.value(node, key).partition(b" ")[2] == value
    assert set(stack.shards().values()) == {node.name for node in stack.swarm.nodes}


def test_scaling_fails_no_request(stack: Stack, unharmed: Unharmed) -> None:
    for shards in (6, 4):
        with unharmed(f"scaled to {shards} shards", LONGEST):
            stack.scale(shards)
            stack.wait_until_serving(shards)


def test_another_image_fails_no_request(stack: Stack, images: tuple[list[str], Path], unharmed: Unharmed) -> None:
    before = stack.images()
    (another,) = set(images[0]) - before
    with unharmed("another image", LONGEST):
        stack.deploy(RINGKV_IMAGE=another)
        stack.wait_until_updated("shard", "router")
        stack.wait_until_serving(len(stack.swarm.nodes))
    assert stack.images() == {another}


def test_another_version_fails_no_request(stack: Stack, publish: Publish, unharmed: Unharmed, text: Path) -> None:
    with unharmed("another version", LONGEST):
        number = publish()
        stack.wait_until_served(number)
    key, value = next(read_pairs(text))
    assert {stack.value(node, key) for node in stack.swarm.nodes} == {b"v%d %b" % (number, value)}


@pytest.mark.parametrize("shards", [3, 6])
def test_a_lost_node_fails_no_request(stack: Stack, unharmed: Unharmed, shards: int) -> None:
    """With six shards each node is a zone of two."""
    swarm = stack.swarm
    stack.scale(shards)
    stack.wait_until_serving(shards)
    assert set(stack.shards().values()) == {node.name for node in swarm.nodes}
    lost = swarm.nodes[-1]
    try:
        with unharmed(f"a node of three lost, {shards} shards", LONGEST) as run:
            lost.lose()
            run.pause(SCALE.hold)
            swarm.wait_until_ready(*swarm.living)
            stack.wait_until_serving(shards)
            assert set(stack.shards().values()) == {node.name for node in swarm.living}
    finally:
        lost.come_back()
    swarm.wait_until_ready(*swarm.nodes)
    wait_for(lambda: stack.serving(lost) == set(stack.shards()), "its router is not back", CHANGE_PATIENCE, LOOK)


def test_without_its_only_manager_a_swarm_serves_but_cannot_be_changed(stack: Stack, unharmed: Unharmed) -> None:
    manager, *workers = stack.swarm.nodes
    shards = set(stack.shards())
    with unharmed("the only manager lost", LONGEST) as run:
        manager.lose()
        run.pause(2 * SCALE.hold)
        for node in workers:
            assert stack.serving(node) < shards
            with pytest.raises(AssertionError, match="not a swarm manager"):
                node.docker("service", "scale", "ringkv_shard=4")
        # With its disk it is the manager again, and knows what is to run.
        manager.come_back()
        stack.wait_until_serving(len(stack.swarm.nodes))
        stack.scale(4)
        stack.wait_until_serving(4)
