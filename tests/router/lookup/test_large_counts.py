"""A count that no reply has ends the link before room is made for it, and is not mistaken in a value."""

import asyncio
from itertools import combinations
from typing import Any

import pytest

from ringkv.cluster.errors import PeerError
from ringkv.resp import codec
from ringkv.router.lookup.link import Link


class Transport(asyncio.Transport):
    """Takes what is written, and remembers whether it was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None: ...

    def abort(self) -> None:
        self.aborted = True


class Waiter:
    def __init__(self) -> None:
        self.told: list[Any] = []

    def answered(self, reply: Any, _link: Link) -> None:
        self.told.append(reply)

    def lost(self, _link: Link) -> None: ...


def received(pieces: list[bytes]) -> tuple[list[Any], Link, Transport]:
    """What was told to those who wait when these pieces arrived."""
    link, transport, waiter = Link(), Transport(), Waiter()
    link.connection_made(transport)
    for _ in range(9):
        link.mget([b"x"], waiter)
    for piece in pieces:
        if not transport.aborted:
            link.data_received(piece)
    return waiter.told, link, transport


HEADS = [b"*2147483647\r\n", b"*4294967295\r\n", b"~2147483647\r\n", b">2147483647\r\n", b"*1000000\r\n"]


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("before", [b"", codec.bulk(b"x"), b"*2\r\n$1\r\nx\r\n", b"+OK\r\n", codec.bulk(b"*\r\n>" * 9)])
async def test_it_closes_the_link_wherever_it_is_cut(head: bytes, before: bytes) -> None:
    stream = before + head
    for cut in range(len(stream) + 1):
        told, link, transport = received([stream[:cut], stream[cut:]])
        assert transport.aborted
        assert isinstance(link.problem, PeerError)
        assert told == [] if before[:1] in {b"", b"*"} else len(told) == 1
    told, _, transport = received([bytes([byte]) for byte in stream])
    assert transport.aborted


VALUES = [b"*2147483647\r\n", b"a\r\n*2147483647\r\n", b"\n>9999999999\n~99999999\n*", b"*", b"\r\n*", b"*12345678"]


@pytest.mark.parametrize("value", VALUES)
async def test_a_value_that_looks_like_one_is_a_value_wherever_it_is_cut(value: bytes) -> None:
    stream = codec.bulk(value) + codec.values([value, None, value], codec.NULL) + codec.bulk(value) + b"+OK\r\n"
    expected = [value, [value, None, value], value, b"OK"]
    for first, second in combinations(range(len(stream) + 1), 2):
        told, _, transport = received([stream[:first], stream[first:second], stream[second:]])
        assert told == expected
        assert not transport.aborted
    assert received([bytes([byte]) for byte in stream])[0] == expected


LARGE = [b"x" * 3000, b"*" * 3000, b"x" * 3000 + b"\r\n*99999999\r\n", b"*99999999\r\n" + b"x" * 3000]
CUTS = (0, 1, 9, 20, 513, 1500, 3008, 3009, 3010, 3020, 3030)


@pytest.mark.parametrize("value", LARGE)
@pytest.mark.parametrize("head", HEADS)
async def test_among_large_values_it_is_found_and_not_mistaken(value: bytes, head: bytes) -> None:
    values = codec.bulk(value) * 2
    for cut in CUTS:
        told, _, transport = received([values[:cut], values[cut:]])
        assert told == [value, value]
        assert not transport.aborted
        told, link, transport = received([values[:cut], values[cut:] + head])
        assert told == [value, value]
        assert transport.aborted
        assert isinstance(link.problem, PeerError)
