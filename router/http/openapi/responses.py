"""The responses of the HTTP port, with their headers, as OpenAPI describes them."""

from collections.abc import Mapping
from typing import Final

from aiohttp import hdrs

from ringkv.router.http.answers import KEYS, MISSING
from ringkv.router.http.openapi.derived import Schema, reference

TEXT: Final = "text/plain"
JSON: Final = "application/json"

ETAG: Final = "ETag"

_PREFLIGHT: Final = (hdrs.ACCESS_CONTROL_ALLOW_METHODS, hdrs.ACCESS_CONTROL_ALLOW_HEADERS, hdrs.ACCESS_CONTROL_MAX_AGE)
_OF_FILE: Final = (ETAG, "Content-Security-Policy", "X-Content-Type-Options", hdrs.CACHE_CONTROL)


def _header(description: str, schema: Schema, *, required: bool = True) -> Schema:
    return {"description": description, "required": required, "schema": schema}


HEADERS: Final[Mapping[str, Schema]] = {
    hdrs.SERVER: _header("`ringkv/` and its version.", {"type": "string", "pattern": "^ringkv/"}),
    hdrs.ACCESS_CONTROL_ALLOW_METHODS: _header(
        "With `--cors`: the methods of such pages.", {"type": "string"}, required=False
    ),
    hdrs.ACCESS_CONTROL_ALLOW_HEADERS: _header(
        "With `--cors`: the headers that they may send.", {"type": "string"}, required=False
    ),
    hdrs.ACCESS_CONTROL_MAX_AGE: _header(
        "With `--cors`: seconds for which this holds.", {"type": "integer"}, required=False
    ),
    hdrs.ALLOW: _header("The methods that the path takes.", {"type": "string", "pattern": "^[A-Z]+(, [A-Z]+)*$"}),
    ETAG: _header(
        "Of a value: its dataset's id. Of the page: its version.", {"type": "string", "pattern": '^"[^"]+"$'}
    ),
    hdrs.ACCEPT_RANGES: _header("A part may be asked for with `Range`.", {"const": "bytes"}),
    hdrs.CONTENT_RANGE: _header("The part, and of how many bytes.", {"type": "string", "pattern": "^bytes .+/[0-9]+$"}),
    hdrs.ACCEPT_ENCODING: _header("The encoding that a body may have.", {"const": "identity"}),
    hdrs.RETRY_AFTER: _header("Seconds after which to come again.", {"type": "integer", "minimum": 1}),
    hdrs.CACHE_CONTROL: _header("Whether a cache may keep it.", {"enum": ["no-store", "no-cache"]}),
    hdrs.WWW_AUTHENTICATE: _header("How to say a token.", {"type": "string", "pattern": "^Bearer( |$)"}),
    hdrs.VARY: _header("The page goes to clients whose `Accept` names `text/html`.", {"const": hdrs.ACCEPT}),
    "Content-Security-Policy": _header("The page loads nothing from elsewhere.", {"type": "string"}),
    "X-Content-Type-Options": _header("A file is what it is said to be.", {"const": "nosniff"}),
    hdrs.TRAILER: _header(f"In HTTP/1.1 `{MISSING}` comes behind the body.", {"const": MISSING}),
    KEYS: _header("How many keys were asked for.", {"type": "integer", "minimum": 0}),
    MISSING: _header("How many of them the dataset does not hold.", {"type": "integer", "minimum": 0}),
}
"""Every header that some response has beside the general ones of HTTP: the document's components."""


def response(
    description: str,
    content: Mapping[str, Schema] | None = None,
    always: tuple[str, ...] = (),
    sometimes: tuple[str, ...] = (),
) -> Schema:
    """A response with a body of these media types, and with headers that it has always or sometimes."""
    headers: Schema = {str(name): {"$ref": f"#/components/headers/{name}"} for name in (hdrs.SERVER, *always)}
    headers |= {str(name): {**HEADERS[name], "required": False} for name in sometimes}
    bodies = {} if content is None else {"content": {kind: {"schema": schema} for kind, schema in content.items()}}
    return {"description": description, "headers": headers, **bodies}


def line(description: str, always: tuple[str, ...] = ()) -> Schema:
    """One line of text, which is what every refusal is."""
    return response(description, {TEXT: reference("Line")}, always)


def json_of(name: str) -> Schema:
    """An answer that is always made anew."""
    return response("The answer in JSON.", {JSON: reference(name)}, (hdrs.CACHE_CONTROL,))


def unavailable(description: str) -> Schema:
    return line(description, (hdrs.RETRY_AFTER,))


UNAUTHORIZED: Final = {
    "401": line("With `--read-token-file`: the request has no token, or none that is valid.", (hdrs.WWW_AUTHENTICATE,))
}
"""What requests that tell keys may be answered besides."""

VALUE: Final = UNAUTHORIZED | {
    "200": response(
        "The value's exact bytes.",
        {TEXT: {"type": "string", "description": "Any bytes without a line feed, in nearly all data UTF-8."}},
        (ETAG, hdrs.ACCEPT_RANGES),
    ),
    "304": response("The client holds the value of this dataset already.", always=(ETAG,)),
    "400": line("The key is not a UUID version 4, `dataset` is not the id of a dataset, or the request is no HTTP."),
    "404": line("The dataset does not hold the key.", (MISSING,)),
    "410": line("The dataset that was asked for is not held any more; the line names those that are."),
    "412": line("`If-Match` names other datasets than the one that is served.", (ETAG,)),
    "503": unavailable("No owner of the key could be reached in time, or too many requests wait."),
}
PART: Final = {
    "206": response(
        "The part of the value that `Range` names.",
        {TEXT: {"type": "string"}},
        (ETAG, hdrs.ACCEPT_RANGES, hdrs.CONTENT_RANGE),
    ),
    "416": line("The value has no such part; `Content-Range` says how many bytes it has.", (hdrs.CONTENT_RANGE,)),
}
"""What only a GET may be answered, as there are no parts of values for HEAD."""

MGET: Final = UNAUTHORIZED | {
    "200": response(
        f"The values, all of one dataset, streamed. The trailer `{MISSING}` says how many keys are missing, in HTTP/1.0"
        " a header does, where that is known in time. An answer that cannot be finished is cut off.",
        {
            TEXT: {"type": "string", "description": "`key value` a line, in the order asked, without missing keys."},
            JSON: reference("Values"),
        },
        (ETAG, KEYS),
        (hdrs.TRAILER, MISSING),
    ),
    "400": line("A line is not a UUID version 4, the format is unknown, or the request is no HTTP."),
    "408": line("Nothing more of the body has come."),
    "413": line("The body has too many bytes or keys: send several."),
    "415": line("The body is encoded: send it as it is.", (hdrs.ACCEPT_ENCODING,)),
    "503": unavailable("No owner of the first keys could be reached in time, or too many requests wait."),
}
FRONT: Final = {
    "200": response(
        "The page where `Accept` names `text/html`, otherwise one line that names the paths.",
        {TEXT: reference("Line"), "text/html": {"type": "string"}},
        (hdrs.VARY,),
        _OF_FILE,
    ),
    "304": response("The client holds the page already.", always=(hdrs.VARY, *_OF_FILE)),
}
FILE: Final = {
    "200": response(
        "The file.",
        {kind: {"type": "string"} for kind in ("text/html", "text/css", "text/javascript", "image/svg+xml")},
        (hdrs.VARY, *_OF_FILE),
    ),
    "304": response("The client holds the file already.", always=(hdrs.VARY, *_OF_FILE)),
    "404": line("The page has no such file."),
}
METRICS: Final = {
    "200": response(
        "The metrics as Prometheus reads them, as OpenMetrics where `Accept` asks for that.",
        {kind: {"type": "string"} for kind in (TEXT, "application/openmetrics-text")},
    )
}
DOCUMENT: Final = {"200": response("This document.", {JSON: {"type": "object"}}, (hdrs.CACHE_CONTROL,))}

OPTIONS: Final = {"204": response("The methods that the path takes.", always=(hdrs.ALLOW, *_PREFLIGHT))}

REFUSALS: Final = {
    "NoHttp": line("The request is no HTTP, or its `Host` is no host."),
    "LongUrl": line("The URL is too long."),
    "OtherExpectation": line("`Expect` asks for something other than `100-continue`."),
    "LongHeader": line("A header is too long."),
}
"""What any request may be answered, whatever it asks for, as components of the document."""

EVERYWHERE: Final[dict[str, Schema]] = {
    status: {"$ref": f"#/components/responses/{name}"}
    for status, name in zip(("400", "414", "417", "431"), REFUSALS, strict=True)
}
