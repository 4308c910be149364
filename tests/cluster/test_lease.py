"""LEASE as the router writes it is what the shard reads; anything else is refused with the reason."""

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringkv.cluster.lease import LeaseRequest
from ringkv.cluster.limits import MAX_REPLICAS

WORDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)
NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,40}", fullmatch=True)
REQUESTS = st.builds(
    LeaseRequest,
    WORDS,
    WORDS,
    st.integers(1, MAX_REPLICAS),
    st.lists(NAMES, min_size=1, max_size=8, unique=True).map(tuple),
)


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
        ([b"data", b"ring", b"1", *(b"%d" % n for n in range(1025))], "a ring of 1025 shards: at most 1024 can"),
    ],
)
def test_what_is_no_lease_is_refused(args: list[bytes], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        LeaseRequest.parse(args)
