"""The way of a key as it is told: by the router, from what an owner says, and by `ringkv explain`."""

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

import ringkv.router.http.explain
from ringkv.cluster.position import position, slot
from ringkv.resp import codec
from ringkv.router.http.layout import fraction
from tests.client.stub import Router as Stub
from tests.client.stub import replies, running
from tests.support.data import EXAMPLE, random_keys
from tests.support.fake_shard import FakeShard, Start, close, garbage, not_leased, nothing, silence, topology_of, value
from tests.support.http import Response
from tests.support.processes import SpawnedCluster, Spawner
from tests.support.router import Router, Serve, serve_with

KEY = "f8a24bb8-eff8-41dc-929b-10b4c3e49e05"
ABSENT = random_keys(1, seed=99)[0].decode()
"""In example.data, and not."""

SAID = {
    "name": "a",
    "dataset": "dataset-1",
    "file": "/packed/segment-00000.arrow",
    "position": str(position(KEY.encode())),
    "partition": 42,
    "block": 42,
    "checked": True,
    "refusal": None,
    "found": True,
    "rank": 8,
    "offset": 157_866,
    "size": 4,
    "ns": {"hash": 1000, "find": 2500, "read": 333},
}
NOT_LEASED = {
    "checked": False,
    "refusal": "partition 42 is not leased here; ask an owner of it",
    **dict.fromkeys(("found", "rank", "offset", "size")),
    "ns": {"hash": 1000},
}


def says(**others: Any) -> Callable[[FakeShard, bytes], bytes]:
    return lambda shard, _key: codec.bulk(json.dumps({**SAID, "name": shard.name, **others}))


@pytest.fixture
async def two(start: Start) -> AsyncIterator[Callable[..., Any]]:
    """Starts a router with two owners of every key; the preferred one of KEY comes first."""
    async with AsyncExitStack() as stack:

        async def started(first: object, second: object) -> Router:
            shards = await start(a=first, b=second)
            router_ = await serve_with(shards)
            stack.push_async_callback(router_.runner.cleanup)
            router_.lookups.swap(await topology_of(shards, 2))
            topology = router_.lookups.topology
            assert topology is not None
            if topology.ring.owners[slot(KEY.encode()) >> topology.shift][0] == "b":
                shards[0].answer, shards[1].answer = shards[1].answer, shards[0].answer
            return router_

        yield started


async def test_the_way_of_a_key_is_told_step_by_step(serve: Serve) -> None:
    answer = await (await serve(says()))(f"/explain/{KEY.upper()}")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    told = answer.json
    took = told.pop("microseconds")
    at = position(KEY.encode())
    assert told == {
        "key": KEY,
        "position": str(at),
        "fraction": fraction(at),
        "slot": slot(KEY.encode()),
        "partition": at >> 56,
        "block": 42,
        "checked": True,
        "partitions": 256,
        "owners": [{"name": "a", "address": None, "zone": "", "open": True, "in_flight": 0}],
        "dataset": "dataset-1",
        "epoch": 1,
        "shard": "a",
        "found": True,
        "rank": 8,
        "offset": 157_866,
        "size": 4,
        "file": "/packed/segment-00000.arrow",
    }
    assert took.pop("shard") == {"hash": 1.0, "find": 2.5, "read": 0.33}
    assert took.keys() == {"parse", "position", "route", "round_trip"}
    assert all(time > 0 for time in took.values())
    assert took["round_trip"] > took["parse"]


async def test_an_absent_key_is_explained_too(serve: Serve) -> None:
    answer = await (await serve(says(found=False, rank=None, offset=None, size=None)))(f"/explain/{KEY}")
    assert answer.status == 200
    assert answer.json["found"] is False
    assert answer.json["size"] is None


@pytest.mark.parametrize("first", [close, garbage, not_leased, says(**NOT_LEASED), nothing, value])
async def test_where_one_owner_cannot_tell_the_next_one_is_asked(two: Callable[..., Any], first: object) -> None:
    router_ = await two(first, says())
    answer = await router_(f"/explain/{KEY}")
    assert answer.status == 200
    assert [owner["name"] for owner in answer.json["owners"]][1] == answer.json["shard"]


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (not_leased, "NOTLEASED partition 7 is not leased here; ask an owner of it"),
        (says(**NOT_LEASED), "partition 42 is not leased here; ask an owner of it"),
        (close, "the connection to the shard was lost"),
        (garbage, "what answers there does not speak the Redis protocol as a shard does"),
        (nothing, "what answers there does not explain as a ringkv shard does"),
        (value, "what answers there does not explain as a ringkv shard does"),
        (lambda *_: codec.bulk("[]"), "what answers there does not explain as a ringkv shard does"),
        (lambda *_: codec.bulk("{}"), "what answers there does not explain as a ringkv shard does"),
        (says(ns=3), "what answers there does not explain as a ringkv shard does"),
        (lambda *_: codec.error("ERR", "unknown command 'EXPLAIN'"), "ERR unknown command 'EXPLAIN'"),
    ],
)
async def test_where_no_owner_can_tell_the_reason_is_one_line(serve: Serve, said: object, reason: str) -> None:
    answer = await (await serve(said))(f"/explain/{KEY}")
    assert refusal(answer, 503) == reason
    assert answer.headers["Retry-After"] == "1"


async def test_an_owner_that_says_nothing_is_not_waited_for_for_ever(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ringkv.router.http.explain, "DEADLINE", 0.2)
    answer = await (await serve(silence))(f"/explain/{KEY}")
    assert refusal(answer, 503) == "no shard that owns this key has answered within 0 s"


async def test_without_a_ring_nothing_can_be_explained(serve: Serve) -> None:
    router_ = await serve(says())
    router_.lookups.topology = None
    assert refusal(await router_(f"/explain/{KEY}"), 503) == "there is no ring yet: no shard could be reached"


@pytest.mark.parametrize(
    "written", ["ring", "x", KEY[:-1], f"{KEY}0", "%FF", "%3Cscript%3E", KEY.replace("-41", "-31")]
)
async def test_what_is_not_a_key_is_not_explained(serve: Serve, written: str) -> None:
    router_ = await serve(says())
    assert refusal(await router_(f"/explain/{written}"), 400).startswith("not a UUID version 4: ")
    assert router_.shards[0].asked == []


def refusal(answer: Response, status: int) -> str:
    assert answer.status == status
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    line = answer.body.decode()
    assert line.count("\n") == 1
    return line.removesuffix("\n")


@pytest.fixture(scope="module")
def cluster(module_spawn: Spawner) -> SpawnedCluster:
    return module_spawn.up(EXAMPLE, "--replicas", "2")


def run(*args: str, url: str = "", path: str = "") -> tuple[int, str, str]:
    """`ringkv explain`: its exit code, stdout and stderr."""
    command = [sys.executable, "-X", "dev", "-W", "error", "-m", "ringkv", "explain", *args]
    done = subprocess.run(
        command, env={"RINGKV_URL": url, "PATH": path}, capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout, done.stderr


def url_of(cluster: SpawnedCluster) -> str:
    return f"http://{cluster.host}:{cluster.port}"


def test_a_real_shard_says_where_the_value_stands(cluster: SpawnedCluster) -> None:
    told = json.loads(run(KEY, "--json", url=url_of(cluster))[1])
    assert Path(told["file"]).read_bytes()[told["offset"] :][: told["size"]] == b"1234"
    assert len(told["owners"]) == 2
    assert all(owner["open"] and owner["address"].startswith("unix:") for owner in told["owners"])
    assert told["shard"] == told["owners"][0]["name"]
    assert list(told["microseconds"]["shard"]) == ["hash", "find", "read"]
    assert sum(told["microseconds"]["shard"].values()) < told["microseconds"]["round_trip"]


def test_the_command_tells_the_way_in_aligned_lines(cluster: SpawnedCluster) -> None:
    code, out, err = run(KEY.upper(), url=url_of(cluster))
    assert (code, err) == (0, "")
    lines = out.splitlines()
    steps = [line.split(" ")[0] for line in lines if line[0] != " "]
    assert steps == ["key", "position", "partition", "owner", "owner", "asked", "found", "place", "dataset"]
    assert len({line.index(" µs") for line in lines if " µs" in line}) == 1
    assert KEY in lines[0]
    assert f"{slot(KEY.encode()) >> 6} of 256, slot {slot(KEY.encode()):,}" in out
    assert "4 bytes" in out
    assert "\x1b" not in out


def test_the_command_says_that_a_key_is_absent(cluster: SpawnedCluster) -> None:
    code, out, err = run(ABSENT, "--url", url_of(cluster))
    assert (code, err) == (1, "")
    assert "no such key in the dataset" in out


def test_the_command_prints_what_the_router_says_as_it_is(cluster: SpawnedCluster) -> None:
    code, out, err = run(KEY, "--json", url=url_of(cluster))
    assert (code, err) == (0, "")
    assert json.loads(out)["key"] == KEY
    assert run(ABSENT, "--json", url=url_of(cluster))[0] == 1


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["x"], "not a UUID version 4: 'x'"),
        ([KEY, "--url", "localhost"], "not the URL of a router: 'localhost'"),
        ([KEY, "--url", "http://127.0.0.1:1"], "no answer from http://127.0.0.1:1: Connection refused"),
        ([], "Missing argument 'KEY'"),
        ([KEY, "--loud"], "No such option '--loud'"),
    ],
)
def test_a_wrong_call_is_one_line(args: list[str], message: str) -> None:
    assert_one_line(run(*args), message)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"key": 1}',
        b'{"key": "", "position": Infinity, "microseconds": {"parse": 1}}',
        b"\xff",
        b"<html>",
        pytest.param(b"[" * 100_000, id="deep"),
    ],
)
def test_an_answer_that_is_none_is_one_line(body: bytes) -> None:
    with running(Stub("127.0.0.1")) as stub:
        stub.faults += [replies(200, body)]
        assert_one_line(run(KEY, url=stub.url), f"{stub.url} does not explain keys as a ringkv router does")


def test_the_routers_words_cannot_command_a_terminal(cluster: SpawnedCluster) -> None:
    told = json.loads(run(KEY, "--json", url=url_of(cluster))[1])
    with running(Stub("127.0.0.1")) as stub:
        stub.faults += [replies(200, json.dumps(told | {"file": "\x1b]0;x\x07 [red] \n /f"}).encode())]
        _, out, _ = run(KEY, url=stub.url)
    assert out.replace("\n", "").isprintable()
    assert "?]0;x? [red] /f" in out


def test_a_reader_that_has_left_is_not_taken_for_an_absent_key(cluster: SpawnedCluster) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as pipe:
        command = [sys.executable, "-m", "ringkv", "explain", KEY, "--url", url_of(cluster)]
        done = subprocess.run(command, stdout=pipe, stderr=subprocess.PIPE, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (141, b"")


def assert_one_line(ended: tuple[int, str, str], message: str) -> None:
    code, out, err = ended
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert message in err
