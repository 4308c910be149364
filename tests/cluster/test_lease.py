"""What passes between a router and a shard reads as it was written; anything else is refused with the reason."""

from datetime import UTC, datetime

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringkv.cluster.errors import PeerError
from ringkv.cluster.hot import Extra, Load
from ringkv.cluster.lease import (
    MAX_BY,
    MAX_OFFERED,
    MAX_SERIAL,
    Heartbeat,
    Leased,
    LeaseRequest,
    Offered,
    offered_in,
    versions_section,
)
from ringkv.cluster.limits import MAX_REPLICAS
from ringkv.cluster.place import Place
from ringkv.cluster.position import SLOTS

WORDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)
NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,40}", fullmatch=True)
PLACES = st.builds(
    Place,
    st.just("") | st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", fullmatch=True),
    st.integers(10, 10_000).map(lambda hundredths: hundredths / 100),
)
NUMBERS = st.dictionaries(st.integers(0, SLOTS - 1), st.integers(1, 100), max_size=4).map(
    lambda found: tuple(sorted(found.items()))
)
EXTRA = st.builds(Extra, st.integers(0, 9), NUMBERS)
REQUESTS = st.dictionaries(NAMES, PLACES, min_size=1, max_size=8).flatmap(
    lambda shards: st.builds(
        LeaseRequest,
        WORDS,
        WORDS,
        st.integers(1, MAX_REPLICAS),
        st.just(tuple(sorted(shards))),
        st.just({name: place for name, place in shards.items() if place != Place()}),
        EXTRA,
    )
)
COUNTS = st.integers(0, 10**18 - 1)
PEOPLE = st.text(st.characters(codec="utf-8"), max_size=MAX_BY).filter(str.isprintable)
VERSIONS = st.builds(
    Offered,
    st.integers(0, MAX_SERIAL),
    st.binary(min_size=16, max_size=16).map(bytes.hex),
    st.integers(0, 14).map(lambda bits: 1 << bits),
    st.booleans(),
    PEOPLE,
    st.one_of(st.just(""), st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat)),
)
DATASET = "0123456789abcdef" * 2
LINE = f"serial=7,dataset={DATASET},partitions=4096,forced=0,by=a%20b@host,at=2026-07-01T10:20:30Z"


@given(REQUESTS)
def test_a_lease_reads_as_it_was_written(request: LeaseRequest) -> None:
    reader = hiredis.Reader()
    reader.feed(hiredis.pack_command(request.command()))  # type: ignore[arg-type]
    name, *args = reader.gets()
    assert name == b"LEASE"
    assert LeaseRequest.parse(args) == request


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        ([], "want LEASE"),
        ([b"data", b"ring", b"1"], "want LEASE"),
        ([b"data", b"ring", b"0", b"a"], "replicas must be a positive number up to 64, not '0'"),
        ([b"data", b"ring", b"-1", b"a"], "replicas must be a positive number"),
        ([b"data", b"ring", b"two", b"a"], "replicas must be a positive number"),
        ([b"data", b"ring", "²".encode(), b"a"], "replicas must be a positive number"),
        ([b"data", b"ring", b"", b"a"], "replicas must be a positive number"),
        ([b"data", b"ring", b"1", b"a", b"a"], "a name stands twice"),
        ([b"data", b"ring", b"1", b"\xff"], "utf-8"),
        ([b"data", b"ring", b"65", b"a"], "replicas must be a positive number up to 64, not '65'"),
        ([b"data", b"ring", b"9" * 5000, b"a"], "replicas must be a positive number up to 64, not '9{20}'"),
        ([b"data", b"ring", b"1", b"a", b"<img onerror=x>"], "not a shard's name: '<img onerror=x>'"),
        ([b"data", b"ring", b"1", b"a" * 254], "not a shard's name: 'a{60}'"),
        ([b"data", b"ring", b"1", b""], "not a shard's name: ''"),
        ([b"data", b"ring", b"1", b"@z"], "not a shard's name: ''"),
        ([b"data", b"ring", b"1", b"a@"], "not a zone: ''"),
        ([b"data", b"ring", b"1", b"a@b@c"], "not a zone: 'b@c'"),
        ([b"data", b"ring", b"1", b"a@" + 254 * b"z"], "not a zone: 'z{60}'"),
        ([b"data", b"ring", b"1", b"a@<img onerror=x>"], "not a zone: '<img onerror=x>'"),
        *(
            ([b"data", b"ring", b"1", b"a@z*" + weight], r"a weight is a number from 0.1 to 100 as 2 or 0.75, not ")
            for weight in (
                b"",
                b"0",
                b"-1",
                b"0.09",
                b"100.01",
                b"101",
                b"1e1",
                b"nan",
                b"inf",
                b"01",
                b"1.234",
                b"1*1",
            )
        ),
        ([b"data", b"ring", b"1", b"a@z", b"a@y"], "a name stands twice"),
        ([b"data", b"ring", b"1", b"+1:3=1"], "not a shard's name"),
        ([b"data", b"ring", b"1", b"a", b"+1:3=0"], "not partitions with a number each"),
        ([b"data", b"ring", b"1", *(b"%d" % n for n in range(1025))], "a ring of 1025 shards: at most 1024 can"),
    ],
)
def test_what_is_no_lease_is_refused(args: list[bytes], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        LeaseRequest.parse(args)


@given(
    st.builds(Heartbeat, st.booleans(), COUNTS, COUNTS, COUNTS, st.builds(Load, st.integers(0, 100), NUMBERS), EXTRA)
)
def test_a_heartbeat_reads_as_it_was_written(heartbeat: Heartbeat) -> None:
    assert Heartbeat.parse(heartbeat.reply().encode()) == heartbeat


@pytest.mark.parametrize(
    "reply",
    [
        b"PONG",
        b"SERVING",
        b"SERVING 1 2",
        b"SERVING 1 2 3",
        b"SERVING 1 2 3 %0: +0: 4",
        b"SERVING 1 2 3 %101: +0:",
        b"SERVING 1 2 3 %0: +0:1=0",
        b"SERVING 1 2 3 +0: %0:",
        b"serving 1 2 3 %0: +0:",
        b"SERVING -1 2 3 %0: +0:",
        b"SERVING 1 2 3.0 %0: +0:",
        b"SERVING 1 2 " + b"9" * 5000 + b" %0: +0:",
        "SERVING 1 2 ² %0: +0:".encode(),
        None,
        7,
        [b"SERVING", 1, 2],
    ],
)
def test_what_is_no_heartbeat_is_refused(reply: object) -> None:
    with pytest.raises(PeerError, match="not a reply to HEARTBEAT"):
        Heartbeat.parse(reply)


@given(st.builds(Leased, COUNTS, COUNTS))
def test_what_is_leased_reads_as_it_was_written(leased: Leased) -> None:
    assert Leased.parse(leased.reply().encode()) == leased


@pytest.mark.parametrize("reply", [b"OK", b"OK 1", b"OK 1 x", b"OK 1 " + b"9" * 5000, b"OK 1 \xb2", None, 1])
def test_what_tells_of_no_lease_is_refused(reply: object) -> None:
    with pytest.raises(PeerError, match="not a reply to LEASE"):
        Leased.parse(reply)


@given(st.lists(VERSIONS, max_size=4, unique_by=lambda version: version.dataset_id))
def test_versions_read_as_they_were_written(versions: list[Offered]) -> None:
    lines = [f"{name}:{value}" for name, value in versions_section(versions).items()]
    assert all(line.isascii() and line.isprintable() for line in lines)
    fields = dict(line.split(":", 1) for line in lines)
    assert offered_in(fields | {"name": "one"}) == tuple(versions)


@given(VERSIONS)
def test_a_version_is_told_in_pairs_that_a_comma_separates(version: Offered) -> None:
    """By which redis-py and exporters take it apart."""
    fields = dict(pair.split("=") for pair in version.line().split(","))
    assert list(fields) == ["serial", "dataset", "partitions", "forced", "by", "at"]
    assert (fields["dataset"], int(fields["serial"])) == (version.dataset_id, version.serial)


def test_the_line_by_example() -> None:
    assert Offered.parse(LINE) == Offered(7, DATASET, 4096, False, "a b@host", "2026-07-01T10:20:30Z")
    assert Offered.parse(LINE).line() == LINE
    assert Offered(0, DATASET, 256).line() == f"serial=0,dataset={DATASET},partitions=256,forced=0,by=,at="


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("serial=7", "serial=-7"),
        ("serial=7", "serial=07"),
        ("serial=7", "serial=" + "9" * 5000),
        ("serial=7", "serial=²"),
        ("serial=7", f"serial={1 << 63}"),
        ("serial=7,", ""),
        (DATASET, DATASET.upper()),
        (DATASET, DATASET[1:]),
        ("4096", "4095"),
        ("4096", "0"),
        ("4096", "32768"),
        ("forced=0", "forced=2"),
        ("by=a%20b@host", "by=a%2Gb"),
        ("by=a%20b@host", "by=a%ffb"),
        ("by=a%20b@host", "by=%61"),
        ("by=a%20b@host", "by=a%0Ab"),
        ("by=a%20b@host", "by=a b"),
        ("by=a%20b@host", "by=" + "a" * (MAX_BY + 1)),
        ("at=2026-07-01T10:20:30Z", "at=2026-13-01T10:20:30Z"),
        ("at=2026-07-01T10:20:30Z", "at=2026-07-01T10:20:30"),
        ("at=2026-07-01T10:20:30Z", "at=2026-07-01T10:20:30+99:00"),
        ("at=2026-07-01T10:20:30Z", "at=yesterday"),
        ("at=2026-07-01T10:20:30Z", "at=2026-07-01T10:20:30Z,more=1"),
    ],
)
def test_what_is_no_version_is_refused(old: str, new: str) -> None:
    assert old in LINE
    with pytest.raises(PeerError, match=r"^not "):
        Offered.parse(LINE.replace(old, new))


@given(st.text())
def test_nothing_but_a_peers_error_comes_of_what_a_peer_says(line: str) -> None:
    for text in (line, f"serial=7,dataset={DATASET},partitions=4096,forced=0,by={line},at={line}"):
        with pytest.raises(PeerError):
            Offered.parse(text + "!")


def test_a_dataset_is_offered_once_and_not_many_are() -> None:
    with pytest.raises(PeerError, match="each dataset once"):
        offered_in({"version_0": LINE, "version_1": LINE.replace("serial=7", "serial=6")})
    many = [Offered(serial, f"{serial:032x}", 256) for serial in range(MAX_OFFERED + 1)]
    fields = {name: str(line) for name, line in versions_section(many).items()}
    with pytest.raises(PeerError, match="at most 16 versions"):
        offered_in(fields)
