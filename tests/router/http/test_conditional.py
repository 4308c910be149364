"""Who holds a value of the dataset is told so, and no shard is asked; who holds another one is sent the new one."""

import pytest

from tests.support.data import EXAMPLE, random_keys
from tests.support.fake_shard import nothing, silence
from tests.support.http import fetch
from tests.support.processes import SpawnedCluster, Spawner
from tests.support.router import Serve

KEY = random_keys(1, seed=14)[0].decode()


def held(tags: str) -> str:
    return f"If-None-Match: {tags}\r\n"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "tags",
    [
        '"dataset-1"',
        'W/"dataset-1"',
        '"other", "dataset-1"',
        '"a","b" , W/"dataset-1","c"',
        ' "dataset-1" ',
    ],
)
async def test_who_holds_the_value_is_told_so_and_no_shard_is_asked(serve: Serve, method: str, tags: str) -> None:
    router = await serve()
    response = await router(f"/{KEY}", method, held(tags))
    headers = dict(response.headers)
    assert headers.pop("Date")
    assert headers.pop("Server").startswith("ringkv/")
    assert (response.status, response.body, headers) == (304, b"", {"ETag": '"dataset-1"'})
    assert router.shards[0].asked == []


@pytest.mark.parametrize(
    "tags",
    [
        '"dataset-2"',
        "dataset-1",
        '"dataset-1',
        'w/"dataset-1"',
        '"DATASET-1"',
        "",
        ",",
        '"*"',
        "\xff",
        '"a" "dataset-1"',
    ],
)
async def test_who_holds_another_value_is_sent_this_one(serve: Serve, tags: str) -> None:
    router = await serve()
    response = await router(f"/{KEY}", headers=held(tags))
    assert (response.status, response.body) == (200, f"{KEY} of a".encode())
    assert router.shards[0].asked == [KEY.encode()]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_star_asks_whether_there_is_any_value(serve: Serve, method: str) -> None:
    router = await serve()
    response = await router(f"/{KEY}", method, held("*"))
    assert (response.status, response.headers["ETag"]) == (304, '"dataset-1"')
    assert router.shards[0].asked == [KEY.encode()]
    router.shards[0].answer = nothing
    assert (await router(f"/{KEY}", method, held("*"))).status == 404


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("tags", "status"),
    [
        ('"dataset-1"', 200),
        ('"other" , "dataset-1"', 200),
        ("*", 200),
        ('"other"', 412),
        ('W/"dataset-1"', 412),
        ('"*"', 412),
        ("dataset-1", 412),
    ],
)
async def test_who_wants_a_value_of_one_dataset_is_not_sent_that_of_another(
    serve: Serve, method: str, tags: str, status: int
) -> None:
    router = await serve()
    wanted = f"If-Match: {tags}\r\n"
    response = await router(f"/{KEY}", method, f'{wanted}If-None-Match: "other"\r\n')
    assert (response.status, response.headers["ETag"]) == (status, '"dataset-1"')
    if status == 412:
        assert (await router(f"/{KEY}", method, wanted + held('"dataset-1"'))).status == status
        assert (await router(f"/{KEY}", method, f"{wanted}Range: bytes=0-1\r\n")).status == status
    router.shards[0].answer = nothing
    assert (await router(f"/{KEY}", method, wanted)).status == 404


async def test_what_is_no_key_is_400_whatever_the_client_holds(serve: Serve) -> None:
    router = await serve()
    assert (await router("/nonsense", headers=held('"dataset-1"'))).status == 400


async def test_it_holds_also_while_no_shard_answers(serve: Serve) -> None:
    router = await serve(silence)
    assert (await router(f"/{KEY}", headers=held('"dataset-1"'))).status == 304


async def test_the_tag_of_an_answer_is_the_one_to_send(spawn: Spawner) -> None:
    cluster: SpawnedCluster = spawn.up(EXAMPLE)
    target = "/f8a24bb8-eff8-41dc-929b-10b4c3e49e05"
    first = await fetch(cluster.host, cluster.port, target)
    assert (first.status, first.body) == (200, b"1234")
    second = await fetch(cluster.host, cluster.port, target, headers=held(first.headers["ETag"]))
    assert (second.status, second.body, second.headers["ETag"]) == (304, b"", first.headers["ETag"])
