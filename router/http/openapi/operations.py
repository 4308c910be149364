"""What each path takes and answers: the part of the document that the table of endpoints does not have."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from aiohttp import hdrs

from ringkv.router.http.mget import FORMATS
from ringkv.router.http.openapi.derived import Schema
from ringkv.router.http.openapi.responses import (
    DOCUMENT,
    ETAG,
    FILE,
    FRONT,
    METRICS,
    MGET,
    PART,
    TEXT,
    UNAUTHORIZED,
    VALUE,
    json_of,
    line,
    unavailable,
)
from ringkv.router.http.openapi.schemas import UUID
from ringkv.router.policy import MGET_BYTES, MGET_KEYS

_EXAMPLE: Final = "f8a24bb8-eff8-41dc-929b-10b4c3e49e05"
"""A key of example.data."""

Responses = Mapping[str, Schema]


@dataclass(frozen=True, slots=True)
class Operation:
    """A path. `name` is the second half of its operations' ids; `get_…` is for GET alone, as HEAD knows no parts."""

    name: str
    summary: str
    responses: Responses
    parameters: tuple[Schema, ...] = ()
    get_parameters: tuple[Schema, ...] = ()
    get_responses: Responses = field(default_factory=dict)
    body: Schema | None = None


def _parameter(name: str, where: str, description: str, schema: Schema, example: object = None) -> Schema:
    found = {"name": name, "in": where, "description": description, "required": where == "path", "schema": schema}
    return found if example is None else found | {"example": example}


_KEY: Final = _parameter(
    "key", "path", "A UUID version 4, in lower or upper case.", {"type": "string", "pattern": f"^{UUID}$"}, _EXAMPLE
)
_DATASET: Final = _parameter(
    "dataset",
    "query",
    "The id of a dataset: its value, as long as `GET /versions` names it as served or kept.",
    {"type": "string", "pattern": "^[0-9a-f]{32}$"},
)
_IF_NONE_MATCH: Final = _parameter(
    hdrs.IF_NONE_MATCH, "header", f"`{ETAG}`s of what the client holds already, or `*`.", {"type": "string"}, '"x"'
)
_IF_MATCH: Final = _parameter(
    hdrs.IF_MATCH, "header", f"`{ETAG}`s of the datasets whose value is wanted, or `*`.", {"type": "string"}, '"x"'
)
_RANGE: Final = _parameter(
    hdrs.RANGE, "header", "One range of bytes; whatever else it says is ignored.", {"type": "string"}, "bytes=0-1"
)
_IF_RANGE: Final = _parameter(
    hdrs.IF_RANGE, "header", f"The part is wanted only while the `{ETAG}` is this one.", {"type": "string"}, '"x"'
)
_NO_RING: Final = {"503": unavailable("There is no ring yet: no shard could be reached.")}

OPERATIONS: Final[Mapping[str, Operation]] = {
    "/": Operation("Front", "The page, or one line", FRONT, (_IF_NONE_MATCH,)),
    "/page/{name}": Operation(
        "File",
        "A file of the page",
        FILE,
        (_parameter("name", "path", "Its name.", {"type": "string"}, "page.js"), _IF_NONE_MATCH),
    ),
    "/openapi.json": Operation("Document", "This document", DOCUMENT),
    "/healthz": Operation("Health", "Whether the process lives", {"200": line("It does.")}),
    "/readyz": Operation(
        "Readiness",
        "Whether it can serve",
        {"200": line("A part of the dataset at least."), "503": unavailable("No shard can be reached.")},
    ),
    "/ring": Operation("Ring", "The shards, their states and shares", {"200": json_of("Ring")}),
    "/ring/layout": Operation(
        "Layout", "Which shard owns which arc, and what the last change moved", {"200": json_of("Layout"), **_NO_RING}
    ),
    "/versions": Operation(
        "Versions",
        "Which version of the data is served since when, and what becomes of the next one",
        {"200": json_of("VersionsSeen")},
    ),
    "/stats": Operation(
        "Stats", "What all workers of the router have done, in counts since their start", {"200": json_of("Figures")}
    ),
    "/history": Operation(
        "History",
        "The last hour in samples",
        {"200": json_of("History"), "400": line("`since` is not a time in Unix seconds, or the request is no HTTP.")},
        (
            _parameter(
                "since",
                "query",
                "Unix seconds: only what came after that.",
                {"type": "integer", "minimum": 0, "maximum": 10**15 - 1, "default": 0},
            ),
        ),
    ),
    "/events": Operation("Events", "What has happened to the cluster, and when", {"200": json_of("Events")}),
    "/hot": Operation(
        "Hot", "The keys that were asked for most in the last minutes", UNAUTHORIZED | {"200": json_of("Hottest")}
    ),
    "/metrics": Operation("Metrics", "Figures for Prometheus", METRICS),
    "/explain/{key}": Operation(
        "Explanation",
        "The way of a key, with the time of each step",
        UNAUTHORIZED
        | {
            "200": json_of("Explanation"),
            "400": line("The key is not a UUID version 4, or the request is no HTTP."),
            "503": unavailable("There is no ring, or no owner of the key can tell in time."),
        },
        (_KEY,),
    ),
    "/mget": Operation(
        "Values",
        "The values of many keys",
        MGET,
        (
            _parameter(
                "format",
                "query",
                "Lines as in the data file, or an object in which each key stands once.",
                {"type": "string", "enum": list(FORMATS), "default": "data"},
            ),
        ),
        body={
            "description": f"Keys, one a line: at most {MGET_KEYS} in {MGET_BYTES} bytes. Its type is not looked at.",
            "content": {
                TEXT: {
                    "schema": {"type": "string", "pattern": f"^({UUID}\\r?\\n)*({UUID})?$"},
                    "example": f"{_EXAMPLE}\n",
                }
            },
        },
    ),
    "/{key}": Operation(
        "Value", "The value of a key", VALUE, (_KEY, _DATASET, _IF_MATCH, _IF_NONE_MATCH), (_RANGE, _IF_RANGE), PART
    ),
}
"""By path, as the table of endpoints writes it."""
