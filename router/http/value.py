"""`GET /<key>` on aiohttp's way: requests that are not for the express lane, as they ask for more or look unusual."""

from aiohttp import web

from ringkv.cluster import told
from ringkv.cluster.errors import ShardUnavailable
from ringkv.cluster.position import canonical
from ringkv.router.http.answers import Refusal, answer, response
from ringkv.router.http.conditional import check_wanted, holds, holds_any, not_modified
from ringkv.router.http.large import large
from ringkv.router.http.ranges import part
from ringkv.router.lookup.large import Large
from ringkv.router.lookup.lookup import Lookups
from ringkv.router.lookup.unanswered import UNREACHABLE


class Values:
    """Answers with the exact bytes of a value."""

    def __init__(self, lookups: Lookups) -> None:
        self._lookups = lookups

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Raises InvalidKey, Refusal, ShardUnavailable."""
        lookups = self._lookups
        key = canonical(request.match_info["key"].encode())
        wanted = wanted_dataset(request, lookups)
        known = wanted or (lookups.topology.dataset_id if lookups.topology else None)
        if known is not None and holds(request, known):
            check_wanted(request, known)
            return not_modified(known)
        outcome, dataset_id = await lookups.find(key, wanted)
        if isinstance(outcome, Large):
            check_wanted(request, outcome.dataset_id)
            if holds_any(request):
                return not_modified(outcome.dataset_id)
            return await large(request, lookups, outcome)
        if dataset_id is None or type(outcome) is not bytes:
            return response(answer(outcome))
        check_wanted(request, dataset_id)
        return not_modified(dataset_id) if holds_any(request) else response(part(request, outcome, dataset_id))


def wanted_dataset(request: web.Request, lookups: Lookups) -> str | None:
    """The dataset of `?dataset=<id>`, which is held. Raises Refusal, ShardUnavailable where nothing is served yet."""
    text = request.query.get("dataset")
    if text is None:
        return None
    if not told.is_id(text):
        raise Refusal(400, f"not the id of a dataset: dataset={text[:40]!r}")
    if lookups.topology is None:
        raise ShardUnavailable(UNREACHABLE)
    if lookups.holding(text) is None:
        held = [lookups.topology.dataset_id, *(topology.dataset_id for topology, _ in lookups.kept)]
        raise Refusal(410, f"dataset {text} is not held; held: {', '.join(held)}")
    return text
