"""`--admin-listen`: readers see nothing but keys, and operators everything else."""

import os
import signal

import pytest
import requests

from tests.support.data import EXAMPLE
from tests.support.processes import Spawner, wait_for
from tests.support.visitors import KEY

OF_BOTH = ["healthz", "readyz", "openapi.json"]
OF_OPERATORS = ["", "page/page.js", "ring", "ring/layout", "versions", "stats", "history", "events", "hot", "metrics"]


def ask(port: int, path: str, method: str = "GET", body: bytes = b"") -> requests.Response:
    return requests.request(method, f"http://127.0.0.1:{port}/{path}", data=body, timeout=30)


@pytest.mark.parametrize("workers", [1, 2])
def test_each_port_answers_its_part_also_after_it_began_anew(spawn: Spawner, workers: int) -> None:
    shard = spawn.shard(EXAMPLE)
    listen = ("--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--workers", str(workers))
    router = spawn("router", "--shards", str(shard.address), *listen)
    port = int(router.wait_for_line(r"router listens on 127\.0\.0\.1:(\d+)")[1])
    admin = int(router.wait_for_line(r"router tells operators on 127\.0\.0\.1:(\d+)")[1])
    for times in (1, 2):
        wait_for(lambda times=times: router.err.count("topology 1 in") == times * workers, router.err)  # type: ignore[misc]
        assert ask(port, KEY).content == b"1234"
        assert ask(port, "mget", "POST", KEY.encode()).content == f"{KEY} 1234\n".encode()
        for path in OF_BOTH:
            assert [ask(each, path).status_code for each in (port, admin)] == [200, 200]
        for path in (*OF_OPERATORS, f"explain/{KEY}"):
            assert [ask(each, path).status_code for each in (port, admin)] == [404, 200]
        assert ask(admin, KEY).status_code == 404
        assert ask(admin, "mget", "POST", KEY.encode()).status_code == 404
        assert ask(port, "openapi.json").json()["paths"].keys() == {
            "/{key}",
            "/mget",
            "/healthz",
            "/readyz",
            "/openapi.json",
        }
        if times == 1:
            os.kill(router.pid, signal.SIGHUP)
