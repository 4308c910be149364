"""Conditional requests: a value never changes within a dataset, so a client that holds it is answered 304 without it.

Who puts a value together from parts may ask for those of one dataset alone, and is answered 412 of any other.

Source: RFC 9110, section 13.1: If-None-Match, whose comparison takes weak tags for strong ones, and If-Match, whose
comparison does not; the latter is looked at first.
"""

from aiohttp import hdrs, web
from aiohttp.helpers import ETAG_ANY

from ringkv.router.http.answers import Refusal, bare, etag


def holds(request: web.Request, dataset_id: str) -> bool:
    """Whether `If-None-Match` names this dataset: then the client holds the key's value already."""
    return any(tag.value == dataset_id for tag in request.if_none_match or ())


def holds_any(request: web.Request) -> bool:
    """Whether the client sent `If-None-Match: *`: then it wants 304 for any key that exists."""
    return request.headers.get(hdrs.IF_NONE_MATCH, "").strip() == ETAG_ANY


def check_wanted(request: web.Request, dataset_id: str) -> None:
    """Raises Refusal where `If-Match` names no dataset but others."""
    tags = request.if_match
    if tags is None or request.headers[hdrs.IF_MATCH].strip() == ETAG_ANY:
        return
    if not any(tag.value == dataset_id and not tag.is_weak for tag in tags):
        raise Refusal(412, f"dataset {dataset_id} is served, which {hdrs.IF_MATCH} does not name", etag(dataset_id))


def not_modified(dataset_id: str) -> web.Response:
    return bare(304, etag(dataset_id))
