"""What is leased while the reason for it goes away is let go of, as if it had gone a moment later."""

import asyncio
import errno
import threading
from collections.abc import Collection, Iterator

import pytest

from ringkv.cluster.errors import CorruptBlock
from ringkv.cluster.nodes import NodeTable
from ringkv.cluster.ring import build_ring, ring_id
from ringkv.shard.blocks import Blocks
from tests.shard.test_node import ONE, TWO, leased, node, tell
from tests.support.processes import PATIENCE, eventually
from tests.support.published import Published
from tests.support.redis_port import told


class Gate:
    """Holds up whoever leases, once it is closed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._open = threading.Event()
        self._open.set()
        self._reached = threading.Event()
        leasing = Blocks.leasing

        def late(blocks: Blocks, partitions: Collection[int]) -> dict[int, bytes | CorruptBlock]:
            if not self._open.is_set():
                self._reached.set()
                assert self._open.wait(PATIENCE)
            return leasing(blocks, partitions)

        monkeypatch.setattr(Blocks, "leasing", late)

    def close(self) -> None:
        self._open.clear()

    async def reached(self) -> None:
        await eventually(self._reached.is_set)

    def open(self) -> None:
        self._open.set()


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate(monkeypatch)
    yield gate
    gate.open()


async def test_of_a_router_that_goes_while_its_lease_is_granted_no_lease_is_left(
    published: Published, gate: Gate
) -> None:
    async with node(published) as served:
        router = await served.connect()
        gate.close()
        router.send(("LEASE", published.datasets[1], ring_id(("one",), 1, 256), 1, "one"))
        await gate.reached()
        (connection,) = served.state.clients.values()
        connection.abort()
        await connection.closed
        gate.open()
        await eventually(lambda: not served.version.leases.are_needed)
        await eventually(lambda: not served.store.blocks.rows)


async def test_of_a_topology_that_is_replaced_while_it_is_leased_no_lease_is_left(
    published: Published, gate: Gate
) -> None:
    async with node(published) as served:
        dataset, cluster = published.datasets[1], served.state.cluster
        assert cluster is not None
        router = await leased(served, dataset, ONE)
        gate.close()
        assert await router(*NodeTable(1, dataset, 256, 1, (ONE,)).command()) == b"OK 1"
        await gate.reached()
        assert await router(*NodeTable(2, dataset, 256, 1, (ONE, TWO)).command()) == b"OK 2"
        gate.open()
        await cluster.settled()
        assert cluster.view is not None
        assert cluster.view.table.epoch == 2
        assert served.state.versions.leases == 2  # the router's, and that of the topology in force
        router.close()
        rows, owned = served.store.blocks.rows, set(build_ring(("one", "two"), 1, 256).owned_by("one"))
        await eventually(lambda: rows.keys() == owned)


async def test_a_topology_of_what_is_not_held_any_more_is_in_force_without_a_lease(published: Published) -> None:
    async with node(published) as served:
        dataset, cluster = published.datasets[1], served.state.cluster
        assert cluster is not None
        router = await leased(served, dataset, ONE)
        for epoch, (other, partitions) in enumerate([("f" * 32, 256), (dataset, 512)], 1):
            table = NodeTable(epoch, other, partitions, 1, (ONE, TWO))
            assert await router(*table.command()) == b"OK %d" % epoch
            async with asyncio.timeout(PATIENCE):
                await cluster.settled()
            assert cluster.view is not None
            assert cluster.view.table == table
            assert served.state.versions.leases == 1


async def test_where_no_topology_was_told_nobody_is_served_for_a_grace_time(published: Published) -> None:
    async with node(published) as served:
        cluster = served.state.cluster
        assert cluster is not None
        router = await leased(served, published.datasets[1], ONE)
        router.close()
        await eventually(lambda: not served.state.routers)
        assert cluster._timer is None  # noqa: SLF001 - else the log would say that clients are served no more


async def test_a_version_that_the_topology_alone_held_is_closed_with_the_next_topology(published: Published) -> None:
    async with node(published) as served:
        first, held = published.datasets[1], served.state.versions
        router = await leased(served, first, ONE)
        await tell(served, router, first, 1, ONE)
        for version in (2, 3):
            serial = published.publish(version)
            served.shard.look_now()
            await eventually(lambda serial=serial: held.newest.about.serial == serial)  # type: ignore[misc]
        router.close()
        await eventually(lambda: not served.state.routers)
        assert len(held) == 3
        last = published.datasets[3]
        await tell(served, await leased(served, last, ONE), last, 2, ONE)
        assert len(held) == 2


async def test_of_a_lease_that_cannot_be_granted_nothing_is_left(
    published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_blocks: Blocks, _partitions: Collection[int]) -> dict[int, bytes | CorruptBlock]:
        raise OSError(errno.EIO, "Input/output error")

    async with node(published) as served:
        dataset = published.datasets[1]
        router = await served.connect()
        with monkeypatch.context() as patch:
            patch.setattr(Blocks, "leasing", broken)
            reply = await router("LEASE", dataset, ring_id(("one",), 1, 256), 1, "one")
            assert told(reply) == "ERR [Errno 5] Input/output error"
        assert not served.version.leases.are_needed
        await leased(served, dataset, ONE)
        assert len(served.store.blocks.rows) == 256
