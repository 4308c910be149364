"""A part of a value, for clients that go on with a download or want a piece of something large.

Source: RFC 9110, section 14. One range of bytes is answered; requests for several ranges, or for what is no range of
bytes, are answered with the whole value, as the RFC allows.
"""

import re
from dataclasses import replace
from http import HTTPStatus
from typing import Final

from aiohttp import hdrs, web

from ringkv.router.http.answers import Answer, Refusal, answer, etag

_NO_BYTES: Final = re.compile("bytes=-0+", re.IGNORECASE)
"""A range of the last 0 bytes, which aiohttp takes for all bytes."""


def part(request: web.Request, value: bytes, dataset_id: str) -> Answer:
    """The part of `value` that the request asks for, or all of it. Raises Refusal where there is no such part."""
    asked = place(request, len(value), dataset_id)
    if asked is None:
        return answer(value, dataset_id)
    return replace(head_of_part(asked, len(value), dataset_id), body=value[asked.start : asked.stop])


def head_of_part(asked: range, size: int, dataset_id: str) -> Answer:
    """The answer with this part of a value of `size` bytes, but for the bytes."""
    headers = {**answer(b"", dataset_id).headers, hdrs.CONTENT_RANGE: f"bytes {asked.start}-{asked.stop - 1}/{size}"}
    return Answer(206, HTTPStatus(206).phrase, headers, b"")


def place(request: web.Request, size: int, dataset_id: str) -> range | None:
    """Which of the value's `size` bytes the request asks for; None for all. Raises Refusal where there are none."""
    if hdrs.RANGE not in request.headers or request.method != hdrs.METH_GET or not _still_the_same(request, dataset_id):
        return None
    try:
        asked = request.http_range
    except ValueError:
        return None
    if not size:  # an empty value has no parts; a client that always asks for the first bytes gets what there is
        return None
    first, end, _ = asked.indices(size)
    if first >= end or _NO_BYTES.fullmatch(request.headers[hdrs.RANGE]):
        raise Refusal(416, f"the value has {size} bytes: no such range", {hdrs.CONTENT_RANGE: f"bytes */{size}"})
    return range(first, end)


def _still_the_same(request: web.Request, dataset_id: str) -> bool:
    """Whether `If-Range` allows a part: it compares strongly, and a date never matches, as values have none."""
    wanted = request.headers.get(hdrs.IF_RANGE)
    return wanted is None or wanted.strip() == etag(dataset_id)["ETag"]
