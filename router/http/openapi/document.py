"""`GET /openapi.json`: the table of endpoints, told in OpenAPI 3.1.

The document is made from the table, so it has every path and method of that. A path that operations.py does not
describe ends the router at its start.
Source: https://spec.openapis.org/oas/v3.1.1.html.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from aiohttp import hdrs, web

from ringkv import __version__
from ringkv.router.http.answers import fresh_json
from ringkv.router.http.endpoint import READ, Endpoint
from ringkv.router.http.openapi.derived import Schema
from ringkv.router.http.openapi.operations import OPERATIONS, Operation
from ringkv.router.http.openapi.responses import EVERYWHERE, HEADERS, OPTIONS, REFUSALS, UNAUTHORIZED
from ringkv.router.http.openapi.schemas import SCHEMAS

PATH: Final = "/openapi.json"
_TOKEN: Final = "token"  # noqa: S105 - the name of the scheme

_ABOUT: Final = (
    "A router of ringkv, which serves an immutable key-value file from a sharded cluster. Any other method of a path is"
    " answered 405, with those that it takes in `Allow`; a path that is none of these 404. Every refusal is one line of"
    " text. With `--cors` every response has `Access-Control-Allow-Origin` and `Access-Control-Expose-Headers`."
)


def described(endpoints: Iterable[Endpoint], *, cors: bool) -> Endpoint:
    """The endpoint of the document about these endpoints and itself. Raises KeyError for an undescribed path."""
    methods = {PATH: READ} | {endpoint.path: endpoint.methods for endpoint in endpoints}
    body = json.dumps(document(methods), separators=(",", ":")).encode()

    async def answer(_request: web.Request) -> web.Response:
        return fresh_json(body)

    return Endpoint(PATH, READ, answer, cors)


def document(methods: Mapping[str, Iterable[str]]) -> dict[str, Any]:
    """The document about these paths and the methods that each of them takes."""
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "ringkv",
            "version": __version__,
            "description": _ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": ".", "description": "This router, also where a proxy serves it below a path."}],
        "paths": {path: _path(OPERATIONS[path], taken) for path, taken in methods.items()},
        "components": {
            "schemas": SCHEMAS,
            "headers": HEADERS,
            "responses": REFUSALS,
            "securitySchemes": {
                _TOKEN: {"type": "http", "scheme": "bearer", "description": "With `--read-token-file`."}
            },
        },
    }


def _path(operation: Operation, methods: Iterable[str]) -> Schema:
    """The item of a path: its methods, and OPTIONS, which all paths take."""
    told = {method.lower(): _operation(operation, method) for method in methods}
    told["options"] = {
        "operationId": f"options{operation.name}",
        "summary": "The methods that the path takes",
        "responses": OPTIONS | EVERYWHERE,
    }
    return {"parameters": [each for each in operation.parameters if each["in"] == "path"], **told}


def _operation(operation: Operation, method: str) -> Schema:
    """The description of a method. The answer to HEAD has the headers of that to GET, and no body."""
    parameters = [each for each in operation.parameters if each["in"] != "path"]
    responses = EVERYWHERE | dict(operation.responses)
    if method == hdrs.METH_GET:
        parameters += operation.get_parameters
        responses |= operation.get_responses
    body = {} if operation.body is None else {"requestBody": operation.body}
    security: Schema = {"security": [{}, {_TOKEN: []}]} if UNAUTHORIZED.items() <= responses.items() else {}
    return {
        "operationId": f"{method.lower()}{operation.name}",
        "summary": operation.summary,
        "parameters": parameters,
        **body,
        **security,
        "responses": dict(sorted(responses.items())),
    }
