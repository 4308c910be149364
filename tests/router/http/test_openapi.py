"""The document at /openapi.json is valid and complete, and a cluster answers as it says, whatever it is asked."""

import json
import re
from collections.abc import Iterator
from functools import partial
from typing import Any
from urllib.parse import quote

import pytest
import requests
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from openapi_spec_validator import OpenAPIV31SpecValidator
from schemathesis import Case, openapi
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from ringkv import __version__
from ringkv.router.http.openapi.operations import OPERATIONS
from ringkv.router.http.pages import ABOUT
from ringkv.router.policy import MAX_FIELD, MAX_URL, MGET_BYTES
from tests.support.data import EXAMPLE, ROOT, random_keys, read_pairs
from tests.support.processes import SpawnedCluster, Spawner
from tests.support.router import Serve

PAIRS = [(key.decode(), value) for key, value in read_pairs(EXAMPLE)][:100]
KEY, VALUE = PAIRS[0]
ABSENT = random_keys(1, seed=31)[0].decode()
DATASET = "5a382ebf2779e923783494de081b6768"
ELSE = "/{path}"
"""How aiohttp names the route that refuses every other path."""

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
ALIKE = settings(
    derandomize=True,  # the same examples in every run
    database=None,
    deadline=None,
    max_examples=25,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
Operations = dict[tuple[str, str], APIOperation[Any, Any, Any, Any]]

IN_A_HEADER = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_categories=["Cc"]), max_size=60).map(
    str.strip
)
IN_A_PATH = st.text(min_size=1, max_size=60).filter(lambda text: text not in {".", ".."}).map(partial(quote, safe=""))
SOME_KEY = st.sampled_from([*(key for key, _ in PAIRS), ABSENT, KEY.upper(), KEY[1:]])
ARBITRARY = {
    "key": SOME_KEY | IN_A_PATH,
    "name": st.sampled_from(["page.js", "index.html", "icon.svg", "page.css"]) | IN_A_PATH,
    "since": st.integers().map(str) | st.text(max_size=60),
    "format": st.sampled_from(["json", "data"]) | st.text(max_size=60),
    "dataset": st.sampled_from([DATASET, 32 * "0"]) | st.text(max_size=60),
    "If-None-Match": st.sampled_from([f'"{DATASET}"', f'W/"{DATASET}"', "*", '"other"']) | IN_A_HEADER,
    "If-Match": st.sampled_from([f'"{DATASET}"', f'W/"{DATASET}"', "*", '"other"']) | IN_A_HEADER,
    "If-Range": st.sampled_from([f'"{DATASET}"', '"other"']) | IN_A_HEADER,
    "Range": st.sampled_from(["bytes=0-1", "bytes=-1", "bytes=9-", "bytes=0-0,2-", "lines=1-"]) | IN_A_HEADER,
}
"""What may be sent for each parameter, right or wrong."""

BODIES = st.lists(SOME_KEY, max_size=20).map(lambda keys: "\n".join(keys).encode()) | st.binary(max_size=200)


@pytest.fixture(scope="module")
def url(module_spawn: Spawner) -> str:
    cluster: SpawnedCluster = module_spawn.up(EXAMPLE, "--replicas", "2")
    return f"http://{cluster.host}:{cluster.port}"


@pytest.fixture(scope="module")
def operations(url: str) -> Operations:
    schema = openapi.from_url(f"{url}/openapi.json")
    schema.config.update(base_url=url)
    found = {}
    for result in schema.get_all_operations():
        assert isinstance(result, Ok), result
        operation = result.ok()
        found[operation.path, operation.method.upper()] = operation
    return found


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        yield session


async def test_the_document_is_valid_and_of_this_version(serve: Serve) -> None:
    answer = await (await serve())("/openapi.json")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    assert list(OpenAPIV31SpecValidator(answer.json).iter_errors()) == []
    assert answer.json["openapi"].startswith("3.1.")
    assert answer.json["info"]["version"] == __version__
    ids = re.findall(r'"operationId": "(\w+)"', json.dumps(answer.json))
    assert len(ids) == len(set(ids)) > 30


async def test_every_route_is_in_the_document_with_its_methods_and_nothing_else_is(serve: Serve) -> None:
    router_ = await serve()
    routes = {resource.canonical for resource in router_.runner.app.router.resources()}
    paths = (await router_("/openapi.json")).json["paths"]
    assert paths.keys() == routes - {ELSE}
    assert OPERATIONS.keys() == paths.keys()
    for path, told in paths.items():
        target = path.replace("{key}", KEY).replace("{name}", "page.js")
        methods = [method.upper() for method in told if method != "parameters"]
        for method in ("OPTIONS", "DELETE"):
            assert (await router_(target, method)).headers["Allow"].split(", ") == methods
        assert (await router_(target, "DELETE")).status == 405


@pytest.mark.parametrize("path", OPERATIONS)
def test_every_path_is_named_to_plain_clients_and_in_the_readme(path: str) -> None:
    written = path.replace("{key}", "<key>").replace("{name}", "<name>")
    assert f" {written}`" in (ROOT / "README.md").read_text()
    if not path.startswith(("/{", "/page/")) and path != "/":
        assert re.search(rf"[ ]{re.escape(path.replace('{key}', '<UUID v4>'))}(,|$)", ABOUT)


def test_the_page_links_to_the_document() -> None:
    assert '<a href="openapi.json">' in (ROOT / "router" / "page" / "index.html").read_text()


@pytest.mark.parametrize("path", OPERATIONS)
def test_what_the_document_allows_is_answered_as_it_says(
    operations: Operations, session: requests.Session, path: str
) -> None:
    for operation in (operation for (found, _), operation in operations.items() if found == path):

        @ALIKE
        @given(case=operation.as_strategy())
        def answered(case: Case[Any]) -> None:
            case.call_and_validate(session=session, checks=CHECKS)

        answered()


@pytest.mark.parametrize("path", [path for path in OPERATIONS if OPERATIONS[path].parameters])
def test_what_else_is_asked_is_answered_as_the_document_says(
    operations: Operations, session: requests.Session, path: str
) -> None:
    for operation in (operation for (found, _), operation in operations.items() if found == path):

        @ALIKE
        @given(case=anything(operation))
        def answered(case: Case[Any]) -> None:
            case.call_and_validate(session=session, checks=CHECKS)

        answered()


@pytest.mark.parametrize(
    ("status", "method", "path", "sent"),
    [
        (200, "GET", "/{key}", {}),
        (200, "HEAD", "/{key}", {"headers": {"Range": "bytes=0-0"}}),
        (206, "GET", "/{key}", {"headers": {"Range": "bytes=0-0"}}),
        (304, "GET", "/{key}", {"headers": {"If-None-Match": f'"{DATASET}"'}}),
        (400, "GET", "/{key}", {"path_parameters": {"key": "no-key"}}),
        (404, "GET", "/{key}", {"path_parameters": {"key": ABSENT}}),
        (200, "GET", "/{key}", {"query": {"dataset": DATASET}}),
        (400, "GET", "/{key}", {"query": {"dataset": "old"}}),
        (410, "GET", "/{key}", {"query": {"dataset": 32 * "0"}}),
        (412, "GET", "/{key}", {"headers": {"If-Match": '"other"'}}),
        (414, "GET", "/{key}", {"query": {"x": "x" * MAX_URL}}),
        (416, "GET", "/{key}", {"headers": {"Range": "bytes=999-"}}),
        (417, "GET", "/{key}", {"headers": {"Expect": "a wonder"}}),
        (431, "GET", "/{key}", {"headers": {"X": "x" * (MAX_FIELD + 1)}}),
        (400, "GET", "/ring", {"headers": {"Host": "no host"}}),
        (200, "GET", "/", {"headers": {"Accept": "text/html"}}),
        (200, "GET", "/metrics", {"headers": {"Accept": "application/openmetrics-text; version=1.0.0"}}),
        (404, "GET", "/page/{name}", {"path_parameters": {"name": "none.js"}}),
        (400, "GET", "/history", {"query": {"since": "yesterday"}}),
        (200, "POST", "/mget", {"query": {"format": "json"}, "body": f"{KEY}\n{ABSENT}"}),
        (400, "POST", "/mget", {"body": "no key"}),
        (413, "POST", "/mget", {"body": "0" * (MGET_BYTES + 1)}),
    ],
)
def test_each_status_is_reached_and_is_as_documented(  # noqa: PLR0917 - as a request is written
    operations: Operations, session: requests.Session, status: int, method: str, path: str, sent: dict[str, Any]
) -> None:
    operation = operations[path, method]
    known: dict[str, Any] = {"path_parameters": {"key": KEY}, "media_type": "text/plain" if "body" in sent else None}
    case = operation.Case(**{**known, **sent})
    assert case.call_and_validate(session=session, checks=CHECKS).status_code == status


@st.composite
def anything(draw: st.DrawFn, operation: APIOperation[Any, Any, Any, Any]) -> Case[Any]:
    """A request for the operation with any values, right or wrong, for some of its parameters."""
    sent: dict[str, Any] = {"path_parameters": {}, "query": {}, "headers": {}}
    place = {"path": "path_parameters", "query": "query", "header": "headers"}
    for parameter in operation.iter_parameters():
        if parameter.is_required or draw(st.booleans()):
            sent[place[parameter.location.value]][parameter.name] = draw(ARBITRARY[parameter.name])
    body: dict[str, Any] = {"body": draw(BODIES), "media_type": "text/plain"} if operation.method == "post" else {}
    return operation.Case(**sent, **body)
