"""From the outcome of a request to its answer in HTTP: the one place where answers, refusals and headers are made.

The express lane writes an `Answer` as bytes, aiohttp's way sends `response(answer)`: both are made by the same table.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from aiohttp import hdrs, web

from ringkv import __version__
from ringkv.cluster.errors import InvalidKey, ShardUnavailable
from ringkv.router.lookup.lookup import Reply
from ringkv.router.policy import CORS_MAX_AGE, RETRY_AFTER

SERVER: Final = f"ringkv/{__version__}"
CONTENT_TYPE: Final = "text/plain; charset=utf-8"

MISSING: Final = "Ringkv-Missing"
"""How many of the keys asked for the dataset does not hold: a header of the 404 to one key, by which it differs from
any other 404, and the trailer (RFC 9110, section 6.5) of an answer to many."""

KEYS: Final = "Ringkv-Keys"
"""How many keys an answer to many is about: those that it holds and those that are missing, together."""

EXPOSED: Final = ("ETag", hdrs.ACCEPT_RANGES, hdrs.CONTENT_RANGE, hdrs.RETRY_AFTER, KEYS, MISSING)
"""Headers that a browser shows to a page of another origin only when it is told to."""

TAKEN: Final = (hdrs.AUTHORIZATION, hdrs.CONTENT_TYPE, hdrs.IF_MATCH, hdrs.IF_NONE_MATCH, hdrs.IF_RANGE, hdrs.RANGE)
"""Headers that such a page may send."""


class Refusal(Exception):
    """A request is refused, with this status and headers; `str()` is the line for the client."""

    def __init__(self, status: int, line: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(line)
        self.status = status
        self.headers = dict(headers or {})


@dataclass(frozen=True, slots=True)
class Answer:
    """A response without the headers that every response has; `headers` stand before Content-Type."""

    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes


def answer(outcome: Reply | InvalidKey | Refusal, dataset_id: str | None = None) -> Answer:
    """The answer to `GET /<key>`, or the refusal of any request. `dataset_id` is that of a value, for its ETag."""
    match outcome:
        case bytes():
            return Answer(200, "OK", etag(dataset_id) | {hdrs.ACCEPT_RANGES: "bytes"}, outcome)
        case None:
            return Answer(404, "Not Found", {MISSING: "1"}, b"no such key in the dataset\n")
        case InvalidKey():
            return Answer(400, "Bad Request", {}, _line(outcome))
        case ShardUnavailable():
            return Answer(503, "Service Unavailable", {hdrs.RETRY_AFTER: RETRY_AFTER}, _line(outcome))
        case Refusal():
            return Answer(outcome.status, HTTPStatus(outcome.status).phrase, outcome.headers, _line(outcome))


def response(answer: Answer) -> web.Response:
    headers = {**answer.headers, hdrs.CONTENT_TYPE: CONTENT_TYPE}
    return web.Response(status=answer.status, reason=answer.reason, headers=headers, body=answer.body)


def plain(line: str, headers: Mapping[str, str] | None = None) -> web.Response:
    """200, with one line of text."""
    return response(Answer(200, "OK", headers or {}, f"{line}\n".encode()))


def fresh_json(content: Any) -> web.Response:
    """200, with JSON that no cache may keep; `content` is an object to encode, or bytes that are JSON already."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return web.Response(body=body, content_type="application/json", headers={hdrs.CACHE_CONTROL: "no-store"})


def bare(status: int, headers: Mapping[str, str]) -> web.Response:
    """A response that has no body: 204 or 304."""
    return web.Response(status=status, headers=headers)


def etag(dataset_id: str | None) -> dict[str, str]:
    return {"ETag": f'"{dataset_id}"'}  # aiohttp's constant spells it otherwise


def common_headers(cors: str | None = None) -> dict[str, str]:
    """The headers that every response of this router has, but for the date.

    `cors` is the origin whose pages may read here, or `*`. It stands in every response, whoever asks: so no response
    depends on the request's Origin, and neither caches nor the express lane have to look at it.
    """
    headers: dict[str, str] = {hdrs.SERVER: SERVER}
    if cors is not None:
        headers |= {hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: cors, hdrs.ACCESS_CONTROL_EXPOSE_HEADERS: ", ".join(EXPOSED)}
    return headers


def allowed(methods: Iterable[str]) -> dict[str, str]:
    return {hdrs.ALLOW: ", ".join([*methods, hdrs.METH_OPTIONS])}


def preflight(methods: Iterable[str]) -> dict[str, str]:
    """The headers that a browser wants to see before it lets a page of another origin send its request."""
    return {
        hdrs.ACCESS_CONTROL_ALLOW_METHODS: ", ".join(methods),
        hdrs.ACCESS_CONTROL_ALLOW_HEADERS: ", ".join(TAKEN),
        hdrs.ACCESS_CONTROL_MAX_AGE: CORS_MAX_AGE,
    }


def _line(error: Exception) -> bytes:
    return f"{error}\n".encode()
