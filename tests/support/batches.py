"""What tests of many keys at once share: lookups by fake shards, and the values that these have."""

from ringkv.router.lookup.batch import Values, fetch
from ringkv.router.lookup.lookup import Lookups
from tests.support.fake_shard import FakeShard, topology_of


async def lookups_of(shards: list[FakeShard], replicas: int = 1) -> Lookups:
    """Lookups by a topology of these shards."""
    lookups = Lookups()
    lookups.swap(await topology_of(shards, replicas))
    return lookups


async def get_many(lookups: Lookups, keys: list[bytes]) -> Values:
    """The values of all keys."""
    return (await fetch(lookups, keys)).values


def values_of(name: str, keys: list[bytes]) -> list[bytes]:
    """What the shard of this name answers."""
    return [b"%b of %b" % (key, name.encode()) for key in keys]
