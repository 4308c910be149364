"""Numbers and errors as a person would say them."""

import asyncio
import errno
import socket

import pytest

from ringkv.process.address import Address
from ringkv.process.causes import in_words
from ringkv.process.words import counted


@pytest.mark.parametrize(
    ("number", "words"), [(0, "0 shards"), (1, "1 shard"), (2, "2 shards"), (10_000, "10,000 shards")]
)
def test_one_is_singular(number: int, words: str) -> None:
    assert counted(number, "shard") == words


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed ('127.0.0.1', 1)"), "connection refused"),
        (OSError("Multiple exceptions: [Errno 111] Connect …, [Errno 111] Connect …"), "connection refused"),
        (
            OSError("Multiple exceptions: [Errno 111] Connect …, [Errno 113] Connect …"),
            "connection refused, no route to host",
        ),
        (socket.gaierror(-2, "Name or service not known"), "name or service not known"),
        (OSError("something else"), "something else"),
    ],
)
def test_an_error_of_the_system_has_no_number(error: OSError, words: str) -> None:
    assert in_words(error) == words


@pytest.mark.parametrize("address", ["127.0.0.1:1", "localhost:1", "unix:/nowhere/at/all"])
async def test_real_errors_are_in_words(address: str) -> None:
    with pytest.raises(OSError) as raised:  # noqa: PT011 - what it says is what is tested
        await Address.parse(address).connect(asyncio.Protocol)
    assert in_words(raised.value) in {"connection refused", "no such file or directory"}
