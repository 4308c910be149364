"""A router trusts no shard: what it says wrongly keeps it out, with the reason, and hurts no request and no router."""

import asyncio
import json
from collections.abc import Callable

import pytest

from ringkv.cluster.errors import PeerError, ShardUnavailable
from ringkv.cluster.lease import Offered
from ringkv.cluster.place import Place
from ringkv.resp import codec
from ringkv.router.lookup.batch import fetch
from ringkv.router.lookup.lookup import Lookups
from ringkv.router.members.member import identify
from ringkv.router.redis.scan import page
from tests.support.data import random_keys
from tests.support.fake_shard import FakeShard, Start, topology_of, value
from tests.support.router import Serve

KEYS = random_keys(40, seed=77)

INFO = {"name": "a", "run_id": "0" * 32}
OFFERED = Offered(1, "d" * 32, 256, forced=False, by="somebody", at="2026-07-01T10:20:30+00:00").line()

WRONG = [
    b":5\r\n",
    b"*0\r\n",
    b"*1\r\n$1\r\na\r\n",
    b",1.5\r\n",
    b"#t\r\n",
    b"%1\r\n$1\r\na\r\n:1\r\n",
    b"*1\r\n*1\r\n:1\r\n",
]


def told(info: dict[str, str]) -> bytes:
    return "".join(f"{name}:{text}\r\n" for name, text in info.items()).encode()


def test_a_shard_that_says_who_it_is_is_taken() -> None:
    found = identify(told(INFO | {"version_0": OFFERED, "served": "d" * 32}))
    assert [version.partitions for version in found.versions] == [256]
    assert found.served == "d" * 32


def test_a_shard_that_says_where_it_stands_stands_there() -> None:
    assert identify(told(INFO)).place == Place()
    assert identify(told(INFO | {"zone": "eu-central-1a", "weight": "0.5"})).place == Place("eu-central-1a", 0.5)


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("name", "<img onerror=alert(1)>"),
        ("name", ""),
        ("run_id", "../../etc/passwd"),
        ("run_id", "\x1b[31m"),
        ("served", "<img onerror=alert(1)>"),
        ("served", ""),
        ("zone", "<img onerror=alert(1)>"),
        ("zone", "z" * 254),
        ("weight", "0"),
        ("weight", "-1"),
        ("weight", "9" * 5000),
        ("weight", "nan"),
    ],
)
def test_a_shard_that_says_something_else_is_not_and_the_reason_is_told(field: str, text: str) -> None:
    with pytest.raises(PeerError, match=r"^it says that its ") as caught:
        identify(told(INFO | {field: text}))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("partitions", ["1000000000000", "-5", "255", "9" * 5000])
def test_a_version_of_impossible_partitions_is_none(partitions: str) -> None:
    wrong = OFFERED.replace("partitions=256", f"partitions={partitions}")
    with pytest.raises(PeerError, match=r"^not a version that a shard offers") as caught:
        identify(told(INFO | {"version_0": wrong}))
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("field", INFO)
def test_a_shard_that_does_not_say_all_is_none(field: str) -> None:
    with pytest.raises(PeerError, match="not a ringkv shard"):
        identify(told({name: text for name, text in INFO.items() if name != field}))


def always(reply: bytes) -> Callable[[FakeShard, bytes], bytes]:
    return lambda _shard, _key: reply


@pytest.mark.parametrize("reply", WRONG)
async def test_a_reply_that_is_no_value_goes_to_another_owner(
    start: Start, reply: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    bad, good = await start(a=always(reply), b=value)
    lookups = Lookups()
    lookups.swap(await topology_of([bad, good], 2))
    async with asyncio.timeout(20):
        found = await asyncio.gather(*map(lookups.get, KEYS))
    assert found == [b"%b of b" % key for key in KEYS]
    assert bad.asked
    await asyncio.gather(*(link.closed for link in bad.links))
    assert isinstance(bad.links[0].problem, PeerError)
    assert caplog.text.count("a shard is given up: what answers there does not reply as a shard does") == 1


@pytest.mark.parametrize("reply", WRONG)
async def test_a_reply_that_is_no_value_is_noticed_when_nobody_wants_it_any_more(start: Start, reply: bytes) -> None:
    """As of a lookup that was sent to another owner too, whose reply came first."""
    [bad] = await start(a=always(reply))
    lookups = Lookups()
    lookups.swap(await topology_of([bad], 1))
    lookup = lookups.start(KEYS[0], lambda _found: None)
    assert lookup is not None
    lookup.abandon()
    async with asyncio.timeout(20):
        await bad.links[0].closed
    assert isinstance(bad.links[0].problem, PeerError)


@pytest.mark.parametrize("reply", WRONG)
@pytest.mark.usefixtures("short_deadline")
async def test_without_another_owner_it_is_503_and_no_defect(
    serve: Serve, reply: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    router = await serve(always(reply))
    assert (await router(f"/{KEYS[0].decode()}")).status == 503
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize("item", [b":5\r\n", b"*0\r\n", b"-ERR no\r\n", b"*1\r\n$1\r\nx\r\n"])
async def test_a_batch_with_what_is_no_value_is_asked_elsewhere(start: Start, item: bytes) -> None:
    bad, good = await start(a=value, b=value)
    bad.answer_batch = lambda _shard, keys: b"*%d\r\n" % len(keys) + item * len(keys)
    lookups = Lookups()
    lookups.swap(await topology_of([bad, good], 2))
    async with asyncio.timeout(20):
        batch = await fetch(lookups, KEYS, 1 << 20)
    assert [found and found[:36] for found in batch.values] == KEYS
    assert bad.batches


@pytest.mark.parametrize(
    "reply",
    [
        b"*2\r\n:0\r\n*1\r\n$3\r\nabc\r\n",
        b"*2\r\n:-1\r\n*0\r\n",
        b"*2\r\n:%d\r\n*0\r\n" % (1 << 53),
        b"*2\r\n:7\r\n*0\r\n",
        b"*2\r\n:0\r\n:0\r\n",
        b":5\r\n",
    ],
)
@pytest.mark.usefixtures("short_deadline")
async def test_a_scan_of_what_are_no_keys_ends(start: Start, reply: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ringkv.router.redis.scan.DEADLINE", 0.3)
    [bad] = await start(a=value)
    bad.answer_keys = lambda _shard, _cursor, _count: reply
    lookups = Lookups()
    lookups.swap(await topology_of([bad], 1))
    async with asyncio.timeout(20):
        with pytest.raises(ShardUnavailable):
            await page(lookups, 7, 10)


RIGHT = {
    "name": "a", "refusal": None, "ns": {"find": 5}, "block": 1, "checked": True, "found": True, "rank": 1, "offset": 8,
    "size": 4, "file": "/packed/segment",
}  # fmt: skip


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "<img onerror=x>"}, {"name": 5}, {"ns": {"find": "x"}}, {"ns": {"<b>": 1}}, {"ns": {"find": -1}},
        {"ns": [1]}, {"refusal": 5}, {"block": "<b>"}, {"block": None}, {"checked": 1}, {"found": "yes"},
        {"rank": 1.5}, {"offset": -1}, {"size": 1 << 70}, {"file": None},
    ],
)  # fmt: skip
async def test_an_account_that_is_none_is_not_shown(serve: Serve, wrong: dict[str, object]) -> None:
    router = await serve(always(codec.bulk(json.dumps(RIGHT))))
    assert (await router(f"/explain/{KEYS[0].decode()}")).status == 200
    router.shards[0].answer = always(codec.bulk(json.dumps(RIGHT | wrong)))
    answer = await router(f"/explain/{KEYS[0].decode()}")
    assert (answer.status, answer.body) == (503, b"what answers there does not explain as a ringkv shard does\n")
