"""What a request asks of the kernel is counted of the processes that answer it."""

import pytest
from click.testing import CliRunner

from bench import load
from bench.calls import main
from bench.data import Data
from bench.serving import CONNECTIONS


@pytest.mark.skipif(not load.installed(), reason="needs wrk")
def test_one_request_at_a_time_is_read_and_written_once_by_the_router(tiny: Data) -> None:
    options = ["--pairs", str(tiny.pairs), "--seconds", "1", "--work", str(tiny.text.parent)]
    done = CliRunner().invoke(main, options, catch_exceptions=False)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in done.output.splitlines()[2:]]
    assert [row[:2] for row in rows] == [[who, str(at)] for at in CONNECTIONS for who in ("router", "shards")]
    reads, writes, sleeps = map(float, rows[0][3:6])
    # From its client, which is all that a key in the router's memory needs, and from a shard.
    assert 0.9 < writes <= reads < 3
    assert 0 < sleeps < 3  # where others use the processors, the next request is there before the router sleeps
