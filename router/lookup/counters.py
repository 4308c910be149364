"""How many requests of a router ended in which way, what had to be done for them, and how often the data changed."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from ringkv.router.lookup.durations import Durations


@dataclass(slots=True)
class Counters:
    """What has happened since the start.

    Values found are derived: timed answers less `missing` less `unavailable` (router/figures/own.py). `own_zone`
    counts batched keys that shards in the router's zone have answered, `other_zone` those that others have. `hits` are
    those of `requests` that were answered with a value which the router had kept (router/lookup/hot.py). `swapped`
    counts datasets that took over from another one, `gated` versions that the gate has refused.
    """

    requests: int = 0
    hits: int = 0
    batched: int = 0
    own_zone: int = 0
    other_zone: int = 0
    missing: int = 0
    unavailable: int = 0
    refused: int = 0
    abandoned: int = 0
    hedged: int = 0
    retried: int = 0
    waited: int = 0
    swapped: int = 0
    gated: int = 0

    def told(self, replies: Mapping[str, Durations], near: Mapping[str, bool]) -> dict[str, int]:
        """All of them by their names; `replies` and `near` are those of the shards, by the shards' names.

        Which zone has answered follows from the number of each shard's replies, so that no lookup has to count it.
        """
        found = asdict(self)
        for name, durations in replies.items():
            found["own_zone" if near.get(name, True) else "other_zone"] += durations.count
        return found
