"""Conditional requests: a value never changes within a dataset, so a client that holds it is answered 304 without it.

Source: RFC 9110, section 13.1.2: If-None-Match, whose comparison takes weak tags for strong ones.
"""

from aiohttp import hdrs, web
from aiohttp.helpers import ETAG_ANY

from ringkv.router.http.answers import bare, etag


def holds(request: web.Request, dataset_id: str) -> bool:
    """Whether `If-None-Match` names this dataset: then the client holds the key's value already."""
    return any(tag.value == dataset_id for tag in request.if_none_match or ())


def holds_any(request: web.Request) -> bool:
    """Whether the client sent `If-None-Match: *`: then it wants 304 for any key that exists."""
    return request.headers.get(hdrs.IF_NONE_MATCH, "").strip() == ETAG_ANY


def not_modified(dataset_id: str) -> web.Response:
    return bare(304, etag(dataset_id))
