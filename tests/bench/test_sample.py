"""What servers are asked for, and what their replies are compared with: the data file's own pairs."""

import socket
import sys
import threading
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest

from bench.cgroup import CannotLimit, MemoryGroup
from bench.data import Data
from bench.errors import BenchmarkFailed
from bench.exchanges import ask, asking_meanwhile, gets, mgets
from bench.processes import run
from bench.sample import Sampler
from ringkv.cluster.position import position, shift_to
from tests.support.data import read_pairs
from tests.support.processes import short_directory

CONNECTIONS = 4


@pytest.fixture(scope="module")
def sampler(tiny: Data) -> Sampler:
    return Sampler(tiny.packed)


def test_all_pairs_of_a_sample_are_those_of_the_data_file(tiny: Data, sampler: Sampler) -> None:
    pairs = dict(read_pairs(tiny.text))
    drawn = sampler.any(10 * tiny.pairs)
    assert dict(drawn) == pairs
    assert len(drawn) == tiny.pairs
    assert [key for key, _ in drawn] != sorted(pairs, key=position)
    for sample in (sampler.any(100), sampler.skewed(1000), sampler.one_a_block(10_000)):
        assert all(pairs[key] == value for key, value in sample)


def test_cold_keys_lie_in_blocks_of_their_own(sampler: Sampler) -> None:
    shift = shift_to(256)
    blocks = [position(key) >> shift for key, _ in sampler.one_a_block(10_000)]
    assert len(blocks) == len(set(blocks)) > 250
    assert blocks != sorted(blocks)


def test_skewed_keys_come_up_as_zipf_says(sampler: Sampler) -> None:
    drawn = [count for _, count in Counter(key for key, _ in sampler.skewed(50_000)).most_common()]
    weights = [rank**-0.99 for rank in range(1, sampler.keys + 1)]
    assert drawn[0] / 50_000 == pytest.approx(weights[0] / sum(weights), rel=0.1)
    assert sum(drawn[:20]) / 50_000 == pytest.approx(sum(weights[:20]) / sum(weights), rel=0.1)
    assert len(drawn) > sampler.keys / 2


def serve(path: Path, reply: bytes, connections: int) -> threading.Thread:
    """A server that has the same reply for all requests, each of which arrives as one piece."""
    listening = socket.create_server(str(path), family=socket.AF_UNIX)

    def answer(connection: socket.socket) -> None:
        with connection:
            while connection.recv(1 << 16):
                connection.sendall(reply)

    def accept() -> None:
        with listening:
            threads = []
            for _ in range(connections):
                threads.append(threading.Thread(target=answer, args=(listening.accept()[0],)))
                threads[-1].start()
            for thread in threads:
                thread.join()

    thread = threading.Thread(target=accept)
    thread.start()
    return thread


def test_each_key_is_asked_for_once_and_each_reply_compared() -> None:
    exchanges = gets([(b"k" * 36, b"same")] * 100)
    with short_directory() as folder:
        server = serve(folder / "s", b"$4\r\nsame\r\n", CONNECTIONS + 1)
        with asking_meanwhile(folder / "s", exchanges) as beside:
            asked = ask(folder / "s", exchanges, connections=CONNECTIONS, seconds=60)
        assert len(asked.times) == 100
        assert 0 < asked.percentile(50) <= asked.percentile(99) < asked.seconds
        assert beside.times
        server.join()


def test_a_wrong_reply_is_no_figure() -> None:
    with short_directory() as folder:
        server = serve(folder / "s", b"$4\r\nelse\r\n", 2)
        with (
            pytest.raises(BenchmarkFailed, match="else"),
            asking_meanwhile(folder / "s", gets([(b"k" * 36, b"same")])),
        ):
            pass
        with pytest.raises(BenchmarkFailed, match=r"else.* instead of .*same"):
            ask(folder / "s", gets([(b"k" * 36, b"same")]), connections=1, seconds=60)
        server.join()


def test_batches_have_so_many_keys_each() -> None:
    made = mgets([(b"%036d" % number, b"v%d" % number) for number in range(25)], 10)
    assert [exchange.request.count(b"$36\r\n") for exchange in made] == [10, 10]
    assert made[1].reply.startswith(b"*10\r\n$3\r\nv10\r\n$3\r\nv11\r\n")


def test_a_process_in_a_control_group_has_so_much_memory_or_it_is_said_why_not() -> None:
    allocate = [sys.executable, "-c", "held = bytearray(b'x') * (200 << 20)"]
    with ExitStack() as stack:
        try:
            group = stack.enter_context(MemoryGroup(64 << 20))
        except CannotLimit:
            with pytest.raises(CannotLimit, match="/sys/fs/cgroup"), MemoryGroup(64 << 20):
                pass
            return
        run(*group.prefix, sys.executable, "-c", "pass")
        with pytest.raises(BenchmarkFailed):
            run(*group.prefix, *allocate)
