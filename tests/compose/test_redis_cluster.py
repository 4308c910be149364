"""Compose's shards with RINGKV_ANNOUNCE are a Redis Cluster for whoever is in their network, as this machine is."""

from typing import Any

from redis import RedisCluster

from tests.compose.project import Project
from tests.support.data import EXAMPLE, read_pairs
from tests.support.processes import wait_for


def test_shards_that_announce_themselves_are_asked_directly(cluster: Project) -> None:
    cluster.variables = {"RINGKV_ANNOUNCE": "7379"}
    cluster.up()
    cluster.wait_until_serving(1, 2, 3)
    addresses = {address_of(shard) for shard in cluster.inspect("shard")}
    announced = {f"{address}:7379" for address in addresses}
    wait_for(
        lambda: {shard["announced"] for shard in cluster.ring(cluster.port())["shards"]} == announced, "not announced"
    )
    pairs = dict(read_pairs(EXAMPLE))
    with RedisCluster(host=addresses.pop(), port=7379, password=cluster.secret()) as client:
        assert {f"{node.host}:{node.port}" for node in client.get_nodes()} == announced
        assert client.mget_nonatomic(list(pairs)) == list(pairs.values())


def address_of(container: dict[str, Any]) -> str:
    """In the one network in which a shard is."""
    (network,) = container["NetworkSettings"]["Networks"].values()
    return str(network["IPAddress"])
