"""Which of the topologies that are kept have lost a shard, and who can answer in its place.

    kept ──► all of its links are open ──► as it is
      └────► one has ended ──► the shards that offer its dataset still ──► leased on those ──► kept in its place

Without this no shard would answer for what the lost one held, neither for `?dataset=` nor for a batch that began before
the swap.
"""

from ringkv.router.lookup.kept import Kept
from ringkv.router.lookup.topology import Topology
from ringkv.router.members.membership import Membership


class Renewal:
    def __init__(self, kept: Kept) -> None:
        self._kept = kept
        self._tried: dict[str, frozenset[str]] = {}  # by dataset, the runs of the shards

    def due(self, serving: Membership) -> tuple[Topology, Membership] | None:
        """A kept topology to be formed anew, and of which shards; tried only once with the same shards."""
        broken = [topology for topology, _ in self._kept if not all(link.open for link in topology.links.values())]
        self._tried = {each.dataset_id: self._tried.get(each.dataset_id, frozenset()) for each in broken}
        for topology in broken:
            able = serving.able(topology.dataset_id)
            runs = frozenset(shard.identity.run_id for shard in able.shards.values())
            if runs and runs != self._tried[topology.dataset_id]:
                self._tried[topology.dataset_id] = runs
                return topology, able
        return None

    def put_off(self, topology: Topology) -> None:
        """It was not formed anew, as something else came before it: try again, be it with the same shards."""
        self._tried.pop(topology.dataset_id, None)
