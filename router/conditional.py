"""Conditional requests: who holds a value of this dataset holds what it always will be, and need not be sent it.

Source: RFC 9110, section 13.1.2: If-None-Match, whose comparison takes weak tags for strong ones.
"""

from aiohttp import hdrs, web
from aiohttp.helpers import ETAG_ANY


def holds(request: web.Request, dataset_id: str) -> bool:
    """Whether the client holds the key's value in this dataset already."""
    return any(tag.value == dataset_id for tag in request.if_none_match or ())


def holds_any(request: web.Request) -> bool:
    """Whether the client holds some value of the key, and only wants to know if there is one."""
    return request.headers.get(hdrs.IF_NONE_MATCH, "").strip() == ETAG_ANY


def not_modified(dataset_id: str) -> web.Response:
    return web.Response(status=304, headers={"ETag": f'"{dataset_id}"'})
