"""Requests are what a client sent, wherever it was cut; what is none is refused when its first wrong byte is read."""

import gc
import re
import tracemalloc
from itertools import pairwise

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringkv.resp import codec, inline
from ringkv.resp.arguments import TOGETHER
from ringkv.resp.reads import lone_gets
from ringkv.resp.requests import (
    MAX_ARGUMENTS,
    MAX_ARGUMENTS_BEFORE_AUTH,
    MAX_BULK,
    MAX_BULK_BEFORE_AUTH,
    MAX_INLINE,
    MAX_REQUEST,
    RequestError,
    Requests,
)
from tests.support.data import random_keys
from tests.support.resp import command

KEYS = random_keys(40, seed=51)

keys = st.sampled_from(KEYS)
gets = st.tuples(st.sampled_from([b"GET", b"get"]), keys).map(list)
mgets = st.lists(keys, min_size=1, max_size=9).map(lambda keys: [b"MGET", *keys])
others = st.lists(st.binary(max_size=5) | st.binary(min_size=90, max_size=120) | keys, min_size=1, max_size=30)
pipelines = (
    st.lists(gets, max_size=20) | st.lists(gets | mgets, max_size=12) | st.lists(gets | mgets | others, max_size=12)
)


def parse(pieces: list[bytes], *, authenticated: bool = True) -> list[list[bytes]]:
    """All requests in the pieces, with their names in capitals. Raises RequestError."""
    requests = Requests()
    requests.authenticated = authenticated
    found: list[list[bytes]] = []
    for piece in pieces:
        requests.feed(piece)
        found += requests.ready
        while requests.read() or requests.rests:
            found += requests.ready
    return [[args[0].upper(), *args[1:]] for args in found]


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    bounds = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    return [stream[start:end] for start, end in pairwise(bounds)]


def by_hiredis(stream: bytes) -> list[list[bytes]]:
    """The slow twin of what is split at once: it reads whole arrays of bulk strings."""
    reader, found = codec.reader(), []
    reader.feed(stream)
    while (args := reader.gets()) is not codec.NOT_ENOUGH:
        assert isinstance(args, list)
        found.append([args[0].upper(), *args[1:]])
    return found


@given(pipelines, st.lists(st.integers(0, 10_000), max_size=6))
def test_requests_are_read_as_hiredis_reads_them_wherever_they_are_cut(
    pipeline: list[list[bytes]], places: list[int]
) -> None:
    stream = b"".join(command(*args) for args in pipeline)
    assert parse(cut(stream, places)) == by_hiredis(stream)


@given(st.data())
def test_a_key_that_looks_like_the_protocol_is_a_key(data: st.DataObject) -> None:
    head = b"*2\r\n$3\r\nGET\r\n$36\r\n"
    odd = data.draw(st.lists(st.sampled_from([head, b"\r\n", b"$36\r\n", b"*2147483647\r\n", b"x"]), max_size=9))
    key = b"".join(odd)[:36].ljust(36, b"\n")
    count = data.draw(st.integers(1, 140))
    stream = codec.get_commands([KEYS[0], key, key, KEYS[1]]) + command("MGET", KEYS[2], *[key] * count)
    stream += command("MGET", key, KEYS[3]) + command("GET", key)
    expected = [[b"GET", KEYS[0]], [b"GET", key], [b"GET", key], [b"GET", KEYS[1]], [b"MGET", KEYS[2], *[key] * count]]
    expected += [[b"MGET", key, KEYS[3]], [b"GET", key]]
    assert parse(cut(stream, data.draw(st.lists(st.integers(0, 10_000), max_size=4)))) == expected


@given(st.lists(st.integers(0, 300), max_size=8))
def test_lines_empty_lines_and_empty_requests_are_taken_anywhere(places: list[int]) -> None:
    stream = b"\r\n".join(
        [
            b"PING",
            b"",
            b"*0",
            b"*-1",
            b"*-99",
            b"  get\tx  ",
            command("ECHO", b"\r\n") + b"MGET a",
            b"*1\r\n$4\r\nPING\r\n",
        ]
    )
    expected = [[b"PING"], [b"GET", b"x"], [b"ECHO", b"\r\n"], [b"MGET", b"a"], [b"PING"]]
    assert parse(cut(stream, places)) == expected


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"set \"a b\"  'c d'", [b"set", b"a b", b"c d"]),
        (rb'"\x41\x0a\n\r\t\b\a\\\"\q"', [b'A\n\n\r\t\b\a\\"q']),
        (rb"'it\'s \n'", [rb"it's \n"]),
        (b'a"b c"', [b"ab c"]),
        (b'""', [b""]),
        (b'"open', None),
        (b"'open", None),
        (b'"a"b', None),
        (b"'a'b", None),
        (b'"a\\', None),
    ],
)
def test_the_words_of_a_line_are_those_of_redis(line: bytes, words: list[bytes] | None) -> None:
    assert inline.words(line) == words


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (b"*%d\r\n" % (MAX_ARGUMENTS + 1), "invalid multibulk length"),
        (b"*2147483647\r\n", "invalid multibulk length"),
        (b"*4294967295\r\n", "invalid multibulk length"),
        (b"*" + b"1" * 99, "invalid multibulk length"),
        (b"*x\r\n", "invalid multibulk length"),
        (b"*+1\r\n", "invalid multibulk length"),
        (b"*01\r\n", "invalid multibulk length"),
        (b"*\r\n", "invalid multibulk length"),
        (b"*1\r\n$%d\r\n" % (MAX_BULK + 1), "invalid bulk length"),
        (b"*1\r\n$99999999999999999999999\r\n", "invalid bulk length"),
        (b"*1\r\n$-1\r\n", "invalid bulk length"),
        (b"*1\r\n$ 4\r\n", "invalid bulk length"),
        (b"*1\r\n:5\r\n", "expected '$', got ':'"),
        (b"*1\r\n*1\r\n", "expected '$', got '*'"),
        (b"*1\r\n$4\r\nPINGx\r\n", "a bulk string ends where its length says"),
        (b"\x16\x03\x01", "or a line of text"),
        (b'"open\r\n', "unbalanced quotes"),
        (b"x" * (MAX_INLINE + 1), "too big inline request"),
        (b"GET /x HTTP/1.1\r\n", "not HTTP"),
    ],
    ids=lambda value: repr(value[:30]),
)
def test_what_is_no_request_is_refused_however_it_is_cut(request_: bytes, reason: str) -> None:
    for pieces in ([request_], cut(request_, list(range(min(len(request_), 100)))), [command("PING") + request_]):
        with pytest.raises(RequestError, match=re.escape(reason)):
            parse(pieces)


def test_a_line_has_no_more_words_than_a_person_types() -> None:
    for words in (b" x", b' ""'):
        assert len(parse([b"ECHO" + (inline.MAX_WORDS - 1) * words + b"\r\n"])[0]) == inline.MAX_WORDS
        with pytest.raises(RequestError, match="too many words"):
            parse([b"ECHO" + inline.MAX_WORDS * words + b"\r\n"])


@pytest.mark.parametrize("size", [40, 100, MAX_BULK])
def test_what_one_request_holds_is_bounded_and_counts_what_is_parsed(size: int) -> None:
    requests = Requests()
    argument = b"$%d\r\n%b\r\n" % (size, bytes(size))
    piece = argument * (1 + 60_000 // len(argument))
    fed = 0

    def fill() -> None:
        nonlocal fed
        while fed < 2 * MAX_REQUEST:
            requests.feed(piece)
            assert not requests.read()
            while requests.rests:
                assert not requests.read()
            fed += len(piece)

    requests.feed(b"*%d\r\n" % MAX_ARGUMENTS)
    with pytest.raises(RequestError, match=f"at most {MAX_REQUEST} bytes"):
        fill()
    assert MAX_REQUEST - 2 * len(piece) < fed <= MAX_REQUEST


@pytest.mark.parametrize("lengths", [[36], [2], [0, 1], [2, 2, 2, 2, 2, 2, 2, 2, 1]])
@pytest.mark.parametrize("size", [1 << 12, 1 << 18])
def test_a_request_of_many_arguments_is_read_in_turns(lengths: list[int], size: int) -> None:
    args = [bytes(length) for length in (MAX_ARGUMENTS // 4 // len(lengths)) * lengths]
    stream = command(b"MGET", *args) + command("PING")
    requests = Requests()
    found: list[list[bytes]] = []
    before = 0
    for at in range(0, len(stream), size):
        requests.feed(stream[at : at + size])
        while requests.read() or requests.rests:
            held = requests.begun_bytes
            assert held - before <= TOGETHER * (48 + 7 + max(lengths)) + 60
            before = held
            found += requests.ready
    assert found == [[b"MGET", *args], [b"PING"]]


def test_arguments_that_will_never_be_whole_are_freed_in_parts_and_the_collector_does_not_visit_them() -> None:
    requests = Requests()
    requests.feed(b"*%d\r\n" % MAX_ARGUMENTS + 5 * TOGETHER * b"$2\r\nab\r\n")
    while requests.read() or requests.rests:
        pass
    gc.collect()
    assert not [tracked for tracked in gc.get_objects() if isinstance(tracked, tuple) and len(tracked) == TOGETHER]
    freed = 1
    while requests.discard():
        freed += 1
    assert freed == 5


def test_bytes_that_come_one_by_one_take_no_more_memory_than_they_are() -> None:
    requests = Requests()
    tracemalloc.start()
    try:
        requests.feed(b"*1\r\n$1000000\r\n")
        for number in range(50_000):
            requests.feed(b"%c%c" % (number % 100, 0))
            assert not requests.read()
        assert tracemalloc.get_traced_memory()[0] < 2 * requests.held
    finally:
        tracemalloc.stop()


def test_who_has_not_authenticated_may_send_less() -> None:
    most = [b"x"] * MAX_ARGUMENTS_BEFORE_AUTH
    large = [b"x" * MAX_BULK_BEFORE_AUTH]
    stream = command(*most) + command(*large)
    assert len(parse([stream], authenticated=False)) == 2
    with pytest.raises(RequestError, match="unauthenticated multibulk length"):
        parse([command(*most, b"x")], authenticated=False)
    with pytest.raises(RequestError, match="unauthenticated bulk length"):
        parse([command(large[0] + b"x")], authenticated=False)


def test_hiredis_would_make_room_for_what_a_count_announces() -> None:
    """Why it does not read requests: should this change, it may."""
    reader = codec.reader()
    reader.feed(b"*4294967295\r\n")
    with pytest.raises((MemoryError, hiredis.ProtocolError)):
        reader.gets()


texts = st.binary(min_size=36, max_size=36) | keys


@given(st.sampled_from([b"GET", b"get"]), st.lists(texts, min_size=1, max_size=300), st.binary(max_size=3), st.data())
def test_gets_that_are_all_that_has_come_are_known_by_their_sizes(
    name: bytes, asked: list[bytes], behind: bytes, draw: st.DataObject
) -> None:
    stream = b"".join(b"*2\r\n$3\r\n%b\r\n$36\r\n%b\r\n" % (name, key) for key in asked)
    separator = b"\r\n*2\r\n"
    plain = len(asked) <= 256 and (len(asked) == 1 or not any(separator in key for key in asked))
    assert lone_gets(stream) == (asked if plain else [])
    assert lone_gets(stream + behind) == (asked if plain and not behind else [])
    at = draw.draw(st.integers(0, len(stream) - 1))
    spoiled = stream[:at] + bytes([stream[at] ^ 1]) + stream[at + 1 :]
    found = lone_gets(spoiled)
    assert b"".join(b"*2\r\n$3\r\n%b\r\n$36\r\n%b\r\n" % (name, key) for key in found) in {b"", spoiled}
