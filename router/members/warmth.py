"""Before a swap to another version: a moment in which shards read and check what they have leased of it.

    leased ──► the gate ──► heartbeats tell how much is checked ──► nearly all of it, or WARM_PATIENCE is over ──► swap

Else nearly every request behind the swap would be the first one for its block, whose check costs several lookups: so
many at once that all clients would wait. What shards read ahead they read with restraint, and many blocks together.
"""

import asyncio
from collections.abc import Iterable
from contextlib import suppress

from ringkv.router.lookup.topology import Topology
from ringkv.router.members.member import Member
from ringkv.router.members.membership import Membership
from ringkv.router.policy import WARM_LOOK, WARM_PATIENCE, WARM_SHARE


async def warmed(topology: Topology, membership: Membership, members: Iterable[Member]) -> None:
    """Return when the shards of this topology have checked what they have leased, and after WARM_PATIENCE anyway."""
    leased = {shard.identity.run_id: topology.leased[name].bytes for name, shard in membership.shards.items()}
    shards = [
        (member, member.pulse.answered, WARM_SHARE * leased[member.identity.run_id])
        for member in members
        if member.identity and member.identity.run_id in leased
    ]
    with suppress(TimeoutError):
        async with asyncio.timeout(WARM_PATIENCE):
            # What the last heartbeat told may be of the version before.
            while any(member.pulse.answered == before or member.checked < wanted for member, before, wanted in shards):
                for member, _, _ in shards:
                    member.pulse.hurry()
                await asyncio.sleep(WARM_LOOK)
