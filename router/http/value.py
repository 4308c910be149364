"""`GET /<key>` on aiohttp's way: what the express lane leaves, since it is written in another way or asks for more."""

from aiohttp import web

from ringkv.cluster.position import canonical
from ringkv.router.http.answers import answer, response
from ringkv.router.http.conditional import holds, holds_any, not_modified
from ringkv.router.http.ranges import part
from ringkv.router.lookup.lookup import Lookups


class Values:
    """Answers with the exact bytes of a value."""

    def __init__(self, lookups: Lookups) -> None:
        self._lookups = lookups

    async def answer(self, request: web.Request) -> web.Response:
        """Raises InvalidKey, Refusal."""
        lookups = self._lookups
        key = canonical(request.match_info["key"].encode())
        if lookups.topology and holds(request, lookups.topology.dataset_id):
            return not_modified(lookups.topology.dataset_id)
        outcome = await lookups.get(key)
        dataset_id = lookups.topology.dataset_id if lookups.topology else None
        if dataset_id is None or type(outcome) is not bytes:
            return response(answer(outcome))
        return not_modified(dataset_id) if holds_any(request) else response(part(request, outcome, dataset_id))
