"""The document is true of a router without a ring, of odd values and of refusals, and exact about every field.

A cluster that is well shows none of these, so they are answered by a router in this process.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import pytest
from openapi_schema_validator import OAS31Validator

from ringkv.process.connections import ConnectionLimits
from ringkv.router.figures.history import History
from ringkv.router.figures.values import Figures, ShardFigures
from ringkv.router.http.openapi.derived import schema_of
from ringkv.router.lookup.durations import Durations
from tests.support.data import random_keys
from tests.support.fake_shard import Start, corrupt, not_leased, nothing, topology_of
from tests.support.http import Response, fetch
from tests.support.router import Router, Serve

KEY = random_keys(1, seed=14)[0].decode()
ANSWERED = ["/ring", "/versions", "/stats", "/history", "/events", "/hot", "/ring/layout"]


async def document(router: Router) -> dict[str, Any]:
    return dict((await router("/openapi.json")).json)


def differences(document: dict[str, Any], path: str, answer: Response, method: str = "get") -> list[str]:
    """In what an answer is not as the document says."""
    responses = document["paths"][path][method]["responses"]
    if str(answer.status) not in responses:
        return [f"status {answer.status}"]
    said = resolved(document, responses[str(answer.status)])
    missing = [
        name
        for name, header in said["headers"].items()
        if resolved(document, header).get("required") and name not in answer.headers
    ]
    kind = answer.headers.get("Content-Type", "").partition(";")[0]
    if "content" in said and kind not in said["content"]:
        return [*missing, f"type {kind}"]
    if not answer.body:
        return missing
    content = answer.json if kind == "application/json" else answer.body.decode()
    return missing + wrong_fields(document, said["content"][kind]["schema"], content)


def resolved(document: dict[str, Any], part: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a reference stands for."""
    found: Any = part
    if "$ref" in part:
        found = document
        for name in part["$ref"].removeprefix("#/").split("/"):
            found = found[name]
    return dict(found)


def wrong_fields(document: dict[str, Any], schema: Mapping[str, Any], content: Any) -> list[str]:
    validator = OAS31Validator({**schema, "components": document["components"]})
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(content)]


@pytest.mark.parametrize("path", [*ANSWERED, "/explain/{key}", "/{key}", "/readyz"])
async def test_without_a_ring_every_answer_is_as_documented(serve: Serve, path: str, short_deadline: float) -> None:
    assert short_deadline
    router = await serve()
    router.lookups.topology = None
    answer = await router(path.replace("{key}", KEY))
    assert answer.status == (200 if path in {"/ring", "/versions", "/stats", "/history", "/events", "/hot"} else 503)
    assert differences(await document(router), path, answer) == []


@pytest.mark.parametrize("path", ANSWERED)
async def test_after_a_change_of_the_ring_every_answer_is_as_documented(serve: Serve, start: Start, path: str) -> None:
    router = await serve()
    before = router.lookups.topology
    assert before is not None
    after = await topology_of(await start(b=nothing, c=nothing), 2, epoch=2)
    router.lookups.swap(replace(after, before=before.ring))
    answer = await router(path)
    assert answer.status == 200
    if path == "/ring/layout":
        assert answer.json["moved"][0] != []
    assert differences(await document(router), path, answer) == []


@pytest.mark.parametrize("path", ANSWERED)
async def test_a_field_more_or_less_is_noticed(serve: Serve, path: str) -> None:
    router = await serve()
    told = await document(router)
    answer = await router(path)
    schema = resolved(told, told["paths"][path]["get"]["responses"]["200"])["content"]["application/json"]["schema"]
    assert wrong_fields(told, schema, answer.json) == []
    assert wrong_fields(told, schema, {**answer.json, "new": 1}) != []
    for name in answer.json:
        less = {other: value for other, value in answer.json.items() if other != name}
        assert wrong_fields(told, schema, less) != []


async def test_figures_and_samples_of_shards_are_as_documented(serve: Serve) -> None:
    router = await serve()
    told = await document(router)
    stats = (await router("/stats")).json
    bounds = stats.pop("bounds")
    idle = ShardFigures("a", "127.0.0.1:7379", "serving", 7, 256, 1, 100, 100, 0, Durations())
    busy = replace(idle, durations=Durations())
    busy.durations.observe(0.001)
    looks = [replace(Figures.parse(stats), shards=(shard,)) for shard in (idle, busy, busy)]
    assert wrong_fields(told, told["components"]["schemas"]["Figures"], {"bounds": bounds, **as_json(looks[1])}) == []
    remaining = iter(looks)
    history = History(lambda: next(remaining))
    for _ in looks:
        history.sample()
    content = json.loads(history.told())
    assert [sample["shards"]["a"]["p50"] is None for sample in content["samples"]] == [False, True]
    assert wrong_fields(told, told["components"]["schemas"]["History"], content) == []


def as_json(figures: Figures) -> dict[str, Any]:
    return dict(json.loads(json.dumps(asdict(figures))))


@pytest.mark.parametrize("content", [b"", b"1234", b"\xff\xfe"])
async def test_any_value_in_json_is_as_documented(serve: Serve, content: bytes) -> None:
    router = await serve(lambda _shard, _key: b"$%d\r\n%b\r\n" % (len(content), content))
    answer = await fetch("127.0.0.1", router.port, "/mget?format=json", "POST", body=KEY.encode())
    assert answer.json["values"].keys() == {KEY}
    assert differences(await document(router), "/mget", answer, "post") == []


@pytest.mark.parametrize("said", [corrupt, not_leased])
@pytest.mark.parametrize(
    ("path", "method"), [("/{key}", "GET"), ("/{key}", "HEAD"), ("/explain/{key}", "GET"), ("/mget", "POST")]
)
async def test_a_key_that_nobody_can_tell_of_is_refused_as_documented(
    serve: Serve, short_deadline: float, said: object, path: str, method: str
) -> None:
    assert short_deadline
    router = await serve(said)
    body = KEY.encode() if method == "POST" else b""
    answer = await fetch("127.0.0.1", router.port, path.replace("{key}", KEY), method, body=body)
    assert answer.status == 503
    assert differences(await document(router), path, answer, method.lower()) == []


async def test_a_body_that_does_not_come_is_refused_as_documented(serve: Serve) -> None:
    router = await serve(limits=ConnectionLimits(body=0.1))
    answer = await router("/mget", "POST", "Content-Length: 9\r\n")
    assert answer.status == 408
    assert differences(await document(router), "/mget", answer, "post") == []


def test_a_type_that_no_schema_is_known_for_is_named() -> None:
    with pytest.raises(TypeError, match="no schema is known for the type <class 'complex'>"):
        schema_of(complex)
