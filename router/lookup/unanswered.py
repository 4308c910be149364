"""Why a request has no answer, in words: one text for each reason, whichever way the request came."""

from typing import Final

from ringkv.cluster.errors import ShardUnavailable, TooManyRequests
from ringkv.router.policy import MAX_IN_FLIGHT

UNREACHABLE: Final = "no shard that owns this key could be reached"


def too_many() -> TooManyRequests:
    """Too many requests are in flight."""
    return TooManyRequests(f"{MAX_IN_FLIGHT} requests wait already; try again later")


def no_ring() -> ShardUnavailable:
    """There is no topology, of which something is asked."""
    return ShardUnavailable("there is no ring yet: no shard could be reached")


def not_held(dataset_id: str) -> ShardUnavailable:
    """The dataset with which the request was begun is neither served nor kept any more."""
    return ShardUnavailable(f"dataset {dataset_id} was replaced, and is not held any more; ask again")


def replaced() -> ShardUnavailable:
    """Each time that all values were read, some of them were of another dataset."""
    return ShardUnavailable("the dataset was replaced again and again; try again later")
