"""redis-cli and redis-benchmark, as Debian has them in redis-tools."""

import os
import pty
import re
import subprocess
from collections.abc import Callable
from contextlib import suppress

import pytest

from tests.clients.conftest import Served
from tests.support.resp import command

Tool = Callable[..., str]

KEY = "f8a24bb8-eff8-41dc-929b-10b4c3e49e05"
OTHER = "0cdfafb5-edb4-48a6-a7ec-5b1a75831f91"
MISSING = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def cli(server: Served, tool: Tool) -> Tool:
    def run(*args: str, stdin: bytes = b"") -> str:
        return tool("redis-cli", "-p", str(server.port), *args, stdin=stdin)

    return run


def test_redis_cli_reads_values(cli: Tool) -> None:
    assert cli("GET", KEY) == cli("-3", "GET", KEY.upper()) == "1234\n"
    assert cli("MGET", KEY, OTHER) == "1234\nhere is another value\n"
    assert cli("GETRANGE", OTHER, "0", "3") == "here\n"
    assert cli("TYPE", KEY) == "string\n"
    assert cli("TTL", MISSING) == "-2\n"
    assert cli("SET", KEY, "x").startswith("READONLY ")


def test_redis_cli_pipe_counts_every_reply(cli: Tool, sample: dict[bytes, bytes]) -> None:
    for requests in (
        b"".join(b"*2\r\n$3\r\nGET\r\n$36\r\n%b\r\n" % key for key in sample),
        b"".join(b"GET %b\r\n" % key for key in sample),
        b"".join(b"GET %b\r\n" % key + command("GET", key) for key in list(sample)[:249])
        + b'PING "hi"\r\n\r\nPING\r\n',
    ):
        assert cli("--pipe", stdin=requests).splitlines()[-1] == "errors: 0, replies: 500"


def test_redis_cli_scan_writes_every_key(cli: Tool, example_pairs: dict[bytes, bytes]) -> None:
    assert sorted(cli("--scan").encode().split()) == sorted(example_pairs)
    assert cli("--scan", "--pattern", "f8a24bb8*") == f"{KEY}\n"


def test_redis_cli_bigkeys_finds_the_largest_value(cli: Tool, example_pairs: dict[bytes, bytes]) -> None:
    largest = max(map(len, example_pairs.values()))
    total = sum(map(len, example_pairs.values()))
    shown = cli("--bigkeys")
    assert "Sampled 10000 keys in the keyspace!" in shown
    assert re.search(rf"Biggest string found '\"[0-9a-f-]{{36}}\"' has {largest} bytes", shown)
    assert f"10000 strings with {total} bytes (100.00% of keys" in shown


def test_redis_cli_memkeys_adds_up_what_the_file_has_for_the_keys(cli: Tool, example_pairs: dict[bytes, bytes]) -> None:
    total = sum(20 + len(value) for value in example_pairs.values())
    assert f"10000 strings with {total} bytes (100.00% of keys" in cli("--memkeys")


def test_redis_cli_hotkeys_says_that_nobody_counts(cli: Tool) -> None:
    assert "LFU maxmemory policy is not selected" in cli("--hotkeys")


def test_redis_cli_stat_shows_keys_and_requests(server: Served, tool: Tool) -> None:
    tool("redis-cli", "--version")
    master, slave = pty.openpty()  # as in a terminal: into a pipe it writes nothing until its buffer is full
    shown = b""
    with subprocess.Popen(["redis-cli", "-p", str(server.port), "--stat"], stdout=slave) as process:
        os.close(slave)
        with suppress(OSError):
            while shown.count(b"\n") < 4:
                shown += os.read(master, 4096)
        process.kill()
    os.close(master)
    keys, memory, clients, *_ = shown.splitlines()[-1].split()
    assert keys == b"10000"
    assert re.fullmatch(rb"[\d.]+[MG]", memory)
    assert int(clients) >= 1


def test_redis_benchmark_without_options_reads_and_then_says_why_it_cannot_write(server: Served, tool: Tool) -> None:
    """Its first write ends it, as with a read-only replica: `-t ping,get` leaves the writes out."""
    shown = tool("redis-benchmark", "-p", str(server.port), "-q", "-n", "1000").replace("\r", "\n")
    assert re.search(r"PING_INLINE: [\d.]+ requests per second", shown)
    assert re.search(r"PING_MBULK: [\d.]+ requests per second", shown)
    assert "Error from server: READONLY the dataset is immutable" in shown
    assert "WARNING" not in shown
    shown = tool("redis-benchmark", "-p", str(server.port), "-q", "-n", "1000", "-t", "ping,get").replace("\r", "\n")
    assert re.search(r"GET: [\d.]+ requests per second", shown)
    assert "rror" not in shown


@pytest.mark.parametrize("depth", ["1", "16"])
def test_redis_benchmark_of_given_requests_meets_no_error(server: Served, tool: Tool, depth: str) -> None:
    options = ("-p", str(server.port), "-n", "10000", "-c", "20", "-P", depth, "-q")
    for request in (("GET", KEY), ("MGET", KEY, OTHER, MISSING)):
        shown = tool("redis-benchmark", *options, *request).replace("\r", "\n")
        assert re.search(r"[\d.]+ requests per second", shown), shown
        assert "rror" not in shown
