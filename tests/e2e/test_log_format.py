"""With `--log-format json` whatever a process logs is one JSON object a line, also when something goes wrong."""

import json
import logging
import os
import signal
import sys
from datetime import datetime
from typing import Any

import pytest

from ringkv.process.logs import LogStyle, start_logging
from tests.e2e.test_lifecycle import shard_pids
from tests.support.data import EXAMPLE
from tests.support.processes import Spawned, Spawner, one_line


def events(spawned: Spawned) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in spawned.err.splitlines()]
    for event in found:
        assert (
            {"time", "level", "logger", "message"}
            <= event.keys()
            <= {"time", "level", "logger", "message", "exception"}
        )
        assert datetime.fromisoformat(event["time"]).tzinfo is not None
    return found


def messages(spawned: Spawned, logger: str) -> list[str]:
    return [event["message"] for event in events(spawned) if event["logger"] == logger]


def test_a_shard_and_a_router_log_json(spawn: Spawner) -> None:
    address = f"unix:{spawn.directory()}/s"
    shard = spawn("shard", EXAMPLE, "--listen", address, "--name", "one", env={"RINGKV_LOG_FORMAT": "json"})
    shard.wait_for_line("shard one ready on")
    router = spawn("router", "--shards", address, "--listen", "127.0.0.1:0", "--log-format", "json")
    router.wait_for_line("topology 1 in")
    for process in (router, shard):
        process.process.terminate()
        assert process.wait() == 0
    assert {event["level"] for event in events(shard)} == {"INFO"}
    assert messages(shard, "ringkv.shard")[0].startswith(f"shard one ready on {address}: dataset ")
    assert messages(shard, "ringkv.shard")[-1] == "shard one stopped"
    assert messages(router, "ringkv.router")[-1] == "router stopped"


def test_a_whole_cluster_logs_json(spawn: Spawner) -> None:
    cluster = spawn.up(EXAMPLE, "--log-format", "json", "--shards", "2")
    os.kill(shard_pids(cluster)["shard-2"], signal.SIGKILL)
    cluster.spawned.wait_for_line("shard-2 ended with code -9")
    cluster.spawned.wait_for_line("ringkv.router")  # which runs in another process
    cluster.spawned.process.terminate()
    assert cluster.spawned.wait() == 0
    assert {event["level"] for event in events(cluster.spawned)} == {"WARNING"}
    assert any("shard-2 ended with code -9" in event["message"] for event in events(cluster.spawned))


def test_text_is_the_default(spawn: Spawner) -> None:
    shard = spawn.shard(EXAMPLE, "--name", "one").spawned
    assert " INFO    ringkv.shard: shard one ready on unix:" in shard.err


def test_an_unknown_format_is_refused_in_one_line(spawn: Spawner) -> None:
    line = one_line(spawn("router", "--shards", "127.0.0.1:1", "--log-format", "xml"), code=2)
    assert "'xml' is not one of 'text', 'json'" in line


def test_an_exception_and_odd_bytes_stay_on_their_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = logging.RootLogger(logging.WARNING)
    monkeypatch.setattr(logging, "root", root)
    start_logging(LogStyle("warning", "json"))
    try:
        int("two\nlines")
    except ValueError:
        root.warning("of %r\nand\x1b[31m %s", b"\xff", "é", exc_info=sys.exc_info())
    (line,) = capsys.readouterr().err.splitlines()
    assert line.isascii()
    event = json.loads(line)
    assert event["message"] == "of b'\\xff'\nand\x1b[31m é"
    assert event["exception"].startswith("Traceback (most recent call last):\n")
    assert event["exception"].endswith("'two\\nlines'")
