"""What a peer says is taken only if it is of the type, the range and the characters that a peer of ours would use."""

import pytest

from ringkv.cluster import told
from ringkv.cluster.errors import PeerError
from ringkv.cluster.lease import Heartbeat, Leased, refusal


@pytest.mark.parametrize("name", ["a", "shard-1", "ringkv-shard-3.example", "0", "a" * 253])
def test_a_name_is_taken(name: str) -> None:
    assert told.name(name) == name


@pytest.mark.parametrize("name", ["", "-a", ".a", "a b", "a\n", "<img onerror=x>", "ä", "a" * 254, "a\x1b[31m"])
def test_what_is_no_name_is_not(name: str) -> None:
    with pytest.raises(PeerError, match="which is no shard's name"):
        told.name(name)


@pytest.mark.parametrize("text", ["", "d" * 31, "d" * 33, "g" * 32, "D" * 32, "d" * 32 + "\n"])
def test_what_is_no_id_is_not_taken(text: str) -> None:
    with pytest.raises(PeerError, match=r"dataset is .*, which is no id"):
        told.identifier("dataset", text)


@pytest.mark.parametrize(
    "reply", [5, None, b"", b"SERVING 1", b"SERVING -1 1", b"SERVING 1 x", b"SERVING 1 " + b"9" * 5000, b"LEAVING 1 1"]
)
def test_what_is_no_heartbeat_is_not_taken(reply: object) -> None:
    with pytest.raises(PeerError):
        Heartbeat.parse(reply)


@pytest.mark.parametrize("reply", [5, None, [], b"OK", b"OK 1", b"OK 1 -1", b"OK 1 " + b"9" * 5000, b"KO 1 1"])
def test_what_is_no_reply_to_a_lease_is_not_taken(reply: object) -> None:
    with pytest.raises(PeerError):
        Leased.parse(reply)


def test_what_a_peer_refuses_with_is_one_line_that_can_be_shown() -> None:
    shown = str(refusal("NOTLEASED a\x1b[31m\nb\xff" + 1000 * "x"))
    assert shown.startswith("a?[31m?b?xxx")
    assert len(shown) < 300
    assert str(refusal("ODD \x07")) == "ODD ?"


@pytest.mark.parametrize(
    ("reply", "right"),
    [([b"a", None], True), ([b"a"], False), ([b"a", 5], False), ([b"a", [b"b"]], False), (b"ab", False), (None, False)],
)
def test_values_are_bytes_or_missing(reply: object, right: bool) -> None:  # noqa: FBT001
    assert told.are_values(reply, 2) is right
