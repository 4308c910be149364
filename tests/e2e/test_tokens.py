"""`--read-token-file` on real processes: who reads, how tokens are changed, and what a bad file does."""

import os
import signal
from functools import partial
from pathlib import Path

import pytest
import redis
import requests

from tests.support.data import EXAMPLE
from tests.support.processes import Spawner, one_line, wait_for
from tests.support.resp import AT_ONCE

KEY = "f8a24bb8-eff8-41dc-929b-10b4c3e49e05"
KEPT = "what was read before goes on to count"


def status(port: int, token: str | None, path: str = KEY) -> int:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return requests.get(f"http://127.0.0.1:{port}/{path}", headers=headers, timeout=30).status_code


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    path = tmp_path / "tokens"
    path.write_text("old\nboth\n")
    return path


def test_a_cluster_changes_its_tokens_on_sighup_and_keeps_them_where_the_file_is_bad(
    spawn: Spawner, tokens: Path
) -> None:
    cluster = spawn.up(EXAMPLE, "--redis-port", "0", "--workers", "2", "--read-token-file", str(tokens))
    up, port = cluster.spawned, cluster.port
    assert [status(port, token) for token in (None, "old", "both", "new")] == [401, 200, 200, 401]
    # A worker that has no topology yet has keys wait for it, but is not ready.
    wait_for(lambda: all(status(port, None, "readyz") == 200 for _ in range(10)), "not all workers are ready")
    assert [status(port, None, path) for path in ("healthz", "metrics")] == [200] * 2
    with (
        redis.Redis(port=cluster.redis_port, password="old", retry=AT_ONCE) as old,
        redis.Redis(port=cluster.redis_port, password="both") as both,
    ):
        assert old.get(KEY) == both.get(KEY) == b"1234"
        tokens.write_text("two words\n")
        os.kill(up.pid, signal.SIGHUP)
        wait_for(lambda: up.err.count(KEPT) == 2, up.err)
        assert [status(port, token) for token in ("old", "new")] == [200, 401]
        tokens.write_text("both\nnew\n")
        os.kill(up.pid, signal.SIGHUP)
        wait_for(lambda: all(status(port, "new") == 200 for _ in range(10)), up.err)
        wait_for(lambda: all(status(port, "old") == 401 for _ in range(10)), up.err)
        assert both.get(KEY) == b"1234"
        with pytest.raises(redis.AuthenticationError):
            old.get(KEY)
    assert "Traceback" not in up.err


def test_a_router_does_not_begin_anew_with_a_bad_file_and_reads_a_good_one(spawn: Spawner, tokens: Path) -> None:
    secret = {"RINGKV_SECRET": "between us"}
    shard = spawn.shard(EXAMPLE, "--http", "127.0.0.1:0", "--read-token-file", str(tokens), env=secret)
    shard_http = int(shard.spawned.wait_for_line(r"answers HTTP on 127\.0\.0\.1:(\d+)")[1])
    router = spawn(
        "router",
        *("--shards", str(shard.address), "--listen", "127.0.0.1:0", "--read-token-file", str(tokens)),
        env=secret,
    )
    port = int(router.wait_for_line(r"router listens on 127\.0\.0\.1:(\d+)")[1])
    wait_for(lambda: status(port, "old") == 200)
    assert [status(shard_http, token) for token in (None, "old", "new")] == [401, 200, 401]
    assert [status(shard_http, None, path) for path in ("healthz", "readyz", "metrics")] == [200] * 3
    assert status(port, None) == 401
    assert requests.get(f"http://127.0.0.1:{port}/stats", timeout=30).json()["counters"]["unauthorized"] == 1
    for each, refused in ((port, 1), (shard_http, 2)):
        told = requests.get(f"http://127.0.0.1:{each}/metrics", timeout=30).text
        assert f"\nringkv_unauthorized_total {refused}.0\n" in told
    at_shard = partial(redis.Redis, unix_socket_path=shard.socket, retry=AT_ONCE)
    with at_shard() as stranger, pytest.raises(redis.AuthenticationError):
        stranger.get(KEY)
    with at_shard(password="old") as reader:
        assert reader.get(KEY) == b"1234"
        with pytest.raises(redis.AuthenticationError, match="LEASE needs AUTH first"):
            reader.execute_command("LEASE")
    tokens.write_text("")
    for process in (router, shard.spawned):
        os.kill(process.pid, signal.SIGHUP)
        process.wait_for_line(KEPT)
    assert [status(each, token) for each in (port, shard_http) for token in ("old", "new")] == [200, 401] * 2
    tokens.write_text("both\nnew\n")
    for process in (router, shard.spawned):
        os.kill(process.pid, signal.SIGHUP)
    wait_for(lambda: status(port, "new") == status(shard_http, "new") == 200)
    assert status(port, "old") == status(shard_http, "old") == 401


@pytest.mark.parametrize(
    "command",
    [("router", "--shards", "127.0.0.1:1", "--listen"), ("shard", str(EXAMPLE), "--listen"), ("up", str(EXAMPLE))],
)
def test_a_bad_file_is_one_line_at_the_start(spawn: Spawner, tmp_path: Path, command: tuple[str, ...]) -> None:
    missing = tmp_path / "missing"
    where = ("--port", "0") if command[0] == "up" else ("127.0.0.1:0",)
    spawned = spawn(*command, *where, "--read-token-file", str(missing), env={"RINGKV_SECRET": "x"})
    assert one_line(spawned) == f"Error: tokens cannot be read: {missing}: No such file or directory"


def test_a_shard_whose_routers_could_not_read_says_so(spawn: Spawner, tokens: Path) -> None:
    spawned = spawn("shard", EXAMPLE, "--listen", "127.0.0.1:0", "--read-token-file", str(tokens))
    assert one_line(spawned) == "Error: --read-token-file needs $RINGKV_SECRET too, by which routers read here"
