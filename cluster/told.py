"""What one process tells another, word by word: checked for type, range and characters where it comes in.

A peer may be of another version, damaged, or none of ours: what it says must not make anybody spin, fail or show
something that runs in a browser. The functions return the word in the type that it stands for, or raise PeerError.
"""

import re
from typing import Any, Final

from ringkv.cluster.errors import PeerError

is_name: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}").fullmatch
"""A shard's name: it can stand in a LEASE command, an INFO line, a page and a log."""

is_zone: Final = is_name
"""A zone, rack or machine: labels of Kubernetes and names of hosts are written like that."""

is_id: Final = re.compile(r"[0-9a-f]{32}").fullmatch
"""The id of a dataset, a ring or a process."""

is_host: Final = re.compile(r"[A-Za-z0-9_:][A-Za-z0-9._:-]{0,252}").fullmatch
"""A name or an IP address at which clients reach a process: it can stand in a reply and on a page."""

_UNSHOWN: Final = re.compile(r"[^ -~]")

MAX_LINE: Final = 300
"""How many characters of what a peer says are shown."""


def line(text: str) -> str:
    """The text as one line of printable ASCII, for logs and answers."""
    return _UNSHOWN.sub("?", text[:MAX_LINE])


def name(text: str) -> str:
    """A shard's name."""
    if not is_name(text):
        raise PeerError(f"it says that its name is {text[:60]!a}, which is no shard's name")
    return text


def identifier(what: str, text: str) -> str:
    """The id of a dataset, a ring or a process: 32 hex digits."""
    if not is_id(text):
        raise PeerError(f"it says that its {what} is {text[:60]!a}, which is no id")
    return text


def endpoint(text: str) -> tuple[str, int]:
    """Host and port, as `host:port`; an IPv6 address has no brackets. "" and 0 for "": there is none."""
    host, _, port = text.rpartition(":")
    if not text:
        return "", 0
    if not (is_host(host) and re.fullmatch(r"[1-9][0-9]{0,4}", port) and int(port) < 1 << 16):
        raise PeerError(f"it announces {text[:60]!a}, which is no address")
    return host, int(port)


_VALUE: Final = frozenset({bytes, type(None)})


def is_value(reply: Any) -> bool:
    """Whether a reply to GET is one: a value, or None for a key that is not there."""
    return type(reply) in _VALUE


def are_values(reply: Any, count: int) -> bool:
    """Whether a reply to MGET of so many keys is one: that many values, None for each that is not there."""
    return type(reply) is list and len(reply) == count and _VALUE.issuperset(map(type, reply))
