"""LEASE as the router writes it is what the shard reads; anything else is refused with the reason."""

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringkv.cluster.lease import LeaseRequest

WORDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)
REQUESTS = st.builds(
    LeaseRequest,
    WORDS,
    WORDS,
    st.integers(1, 100),
    st.lists(WORDS, min_size=1, max_size=8, unique=True).map(tuple),
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
        ([b"data", b"ring", b"0", b"a"], "replicas must be a positive number, not '0'"),
        ([b"data", b"ring", b"-1", b"a"], "replicas must be a positive number"),
        ([b"data", b"ring", b"two", b"a"], "replicas must be a positive number"),
        ([b"data", b"ring", "²".encode(), b"a"], "replicas must be a positive number"),
        ([b"data", b"ring", b"", b"a"], "replicas must be a positive number"),
        ([b"data", b"ring", b"1", b"a", b"a"], "a name stands twice"),
        ([b"data", b"ring", b"1", b"\xff"], "utf-8"),
    ],
)
def test_what_is_no_lease_is_refused(args: list[bytes], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        LeaseRequest.parse(args)
