"""Publishing from the command line: what it says, in lines and as JSON, and how it refuses what cannot be."""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ringkv.dataset.catalog import Catalog
from tests.support.data import EXAMPLE
from tests.support.processes import Spawned, Spawner, one_line, wait_for
from tests.support.web import web

EXAMPLE_ID = "5a382ebf2779e923783494de081b6768"
OTHER_ID = 32 * "0"


@pytest.fixture(params=["folder", "bucket"])
def catalog(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "folder":
        return str(tmp_path / "catalog")
    found: str = request.getfixturevalue("bucket")
    return found


@pytest.fixture
def lines(spawn: Spawner) -> Callable[..., list[str]]:
    """What a command that succeeds prints."""

    def run(*args: str | Path) -> list[str]:
        spawned = spawn(*args)
        assert spawned.wait() == 0, spawned.err
        return spawned.out.splitlines()

    return run


@pytest.fixture
def said(lines: Callable[..., list[str]]) -> Callable[..., dict[str, Any]]:
    """The one JSON object that a command prints."""

    def run(*args: str | Path) -> dict[str, Any]:
        (line,) = lines(*args, "--json")
        found: dict[str, Any] = json.loads(line)
        return found

    return run


def some_of(number: int, tmp_path: Path) -> Path:
    """A data file of the first so many pairs of the example."""
    path = tmp_path / f"{number}.data"
    path.write_bytes(b"".join(line + b"\n" for line in EXAMPLE.read_bytes().split(b"\n")[:number]))
    return path


def test_publishing_steps_aside_for_what_is_served(spawn: Spawner, tmp_path: Path) -> None:
    with router({"served": None, "swapping": None, "kept": []}) as url:
        publishing = spawn("publish", EXAMPLE, tmp_path / "catalog", "--wait", url)
        publishing.wait_for_line("published: ", "out")
        assert os.getpriority(os.PRIO_PROCESS, publishing.pid) >= 10


def test_each_step_is_told_in_a_line(lines: Callable[..., list[str]], catalog: str, tmp_path: Path) -> None:
    first = lines("publish", EXAMPLE, catalog, "--by", "a test")
    assert first[0] == f"packed: 10,000 keys, dataset {EXAMPLE_ID}"
    assert first[-2].startswith("verified: ")
    assert first[-1].startswith(f"published: {catalog} serves version 1, by a test at 20")
    (_, _, last) = lines("publish", EXAMPLE, catalog)
    assert last.startswith(f"unchanged: {catalog} serves version 1, by a test at 20")
    second = lines("publish", some_of(9900, tmp_path), catalog)
    assert second[1] == "compared: of 10,000 keys of version 1 1.0% are gone"
    assert len(lines("versions", catalog)) == 2
    assert lines("diff", catalog, f"{catalog}@{EXAMPLE_ID[:8]}", "--limit", "0") == [
        "100 added, 0 removed, 0 changed, 9,900 the same"
    ]
    (back,) = lines("rollback", catalog)
    assert back.startswith(f"rolled back: {catalog} serves version 3, by ")
    assert back.endswith(f", which is dataset {EXAMPLE_ID}")
    assert lines("prune", catalog) == ["nothing to remove"]


def test_each_result_can_be_had_as_json(said: Callable[..., dict[str, Any]], catalog: str, tmp_path: Path) -> None:
    first = said("publish", EXAMPLE, catalog, "--by", "a test")
    assert first["version"] | {"at": "", "folder": ""} == {
        "serial": 1,
        "dataset": EXAMPLE_ID,
        "folder": "",
        "by": "a test",
        "at": "",
        "forced": False,
    }
    assert (first["changed"], first["uploaded"], first["gone"], first["keys"]) == (True, True, None, 10_000)
    second = said("publish", some_of(9000, tmp_path), catalog)
    assert second["gone"] == 0.1
    third = said("publish", some_of(4500, tmp_path), catalog, "--force-swap")
    assert (third["version"]["serial"], third["version"]["forced"], third["gone"]) == (3, True, 0.5)
    assert [entry["serial"] for entry in said("versions", catalog)["versions"]] == [3, 2, 1]
    found = said("diff", f"{catalog}@{EXAMPLE_ID}", catalog, "--limit", "1")
    assert (found["added"], found["removed"], found["changed"], found["same"]) == (0, 5500, 0, 4500)
    assert len(found["first"]["removed"]) == 1
    assert said("rollback", catalog, EXAMPLE_ID[:6])["version"]["serial"] == 4
    pruned = said("prune", catalog, "--keep", "2", "--min-age", "0")
    assert [entry["folder"] for entry in pruned["removed"]] == [second["version"]["folder"]]


def test_a_truncated_file_is_refused_in_a_line_of_its_own(
    spawn: Spawner, lines: Callable[..., list[str]], catalog: str, tmp_path: Path
) -> None:
    lines("publish", EXAMPLE, catalog)
    refused = spawn("publish", some_of(5000, tmp_path), catalog)
    assert refused.wait() == 1
    (error,) = refused.err.splitlines()
    assert error.startswith(f"Error: {catalog}: of 10,000 keys of version 1 50.0% are gone, and 10% may be; ")
    forced = spawn("publish", some_of(5000, tmp_path), catalog, env={"RINGKV_FORCE": "1", "RINGKV_BY": "a job"})
    assert forced.wait() == 0
    assert "a job has forced dataset" in forced.err
    assert "serves version 2, by a job at" in forced.out


@pytest.mark.parametrize(
    ("args", "code", "reason"),
    [
        (["publish", "data"], 2, "Missing argument 'DATA... CATALOG'."),
        (["publish", "no", "{}/catalog"], 1, "no: cannot be read: No such file or directory"),
        (["publish", "{example}", "{example}"], 1, "{example}/current.json: is not in a folder; name one"),
        (["publish", "{example}", "ftp://host/path"], 1, "ftp://host/path: is not the address of a store"),
        (["publish", "{example}", "{}/catalog", "--gate", "11"], 2, "not a share: '11' (want 10%, or a number"),
        (["publish", "{example}", "{}/catalog", "--by", "two\nlines"], 2, r"not a name: 'two\nlines' (want a line"),
        (["publish", "{example}", "/proc/catalog"], 1, "/proc/catalog: cannot be made: No such file or directory"),
        (["versions", "{}/no"], 1, "{}/no: nothing was published yet; `ringkv publish DATA` does that"),
        (["rollback", "{}/no"], 1, "{}/no: nothing was published yet; publish something first"),
        (["prune", "{}/no", "--min-age", "1y"], 2, "not a duration: '1y' (want seconds, or a number with s, m, h"),
        (["prune", "{}/no", "--keep", "1"], 2, "1 is not in the range x>=2"),
        (["diff", "{}/no", "{}/no"], 1, "{}/no: no such folder; make it with `ringkv pack`"),
        (["diff", "{}/no@12", "{}/no"], 1, "{}/no: has no whole dataset '12'; see `ringkv versions`"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(
    spawn: Spawner, tmp_path: Path, args: list[str], code: int, reason: str
) -> None:
    filled = [arg.replace("{}", str(tmp_path)).replace("{example}", str(EXAMPLE)) for arg in args]
    line = one_line(spawn(*filled), code)
    assert line.startswith("Error: ")
    assert reason.replace("{}", str(tmp_path)).replace("{example}", str(EXAMPLE)) in line


def test_a_damaged_catalog_is_refused_in_a_line(spawn: Spawner, tmp_path: Path) -> None:
    (tmp_path / "current.json").write_text("{}")
    for args in (["publish", EXAMPLE], ["versions"], ["rollback"], ["prune"]):
        line = one_line(spawn(*args, tmp_path))
        assert (
            line == f"Error: {tmp_path}/current.json: is not what `ringkv publish` writes; remove it, and publish again"
        )


@pytest.mark.parametrize(
    ("command", "others"),
    [("diff", [EXAMPLE]), ("versions", []), ("rollback", []), ("prune", [])],
)
def test_ctrl_c_ends_a_command_also_while_the_store_hangs(
    spawn: Spawner, tmp_path: Path, command: str, others: list[Path]
) -> None:
    with web(tmp_path) as store:
        store.fault = "hang"
        spawned = spawn(command, store.url, *others)
        wait_for(lambda: store.together > 0)
        spawned.process.send_signal(signal.SIGINT)
        began = time.monotonic()
        assert spawned.wait() == 1
        assert time.monotonic() - began < 10
    assert spawned.err == "\nAborted!\n"


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [(signal.SIGINT, 1, "\nAborted!\n"), (signal.SIGTERM, 128 + signal.SIGTERM, "")],
)
def test_publishing_can_be_ended_also_while_the_store_hangs(
    spawn: Spawner, tmp_path: Path, number: signal.Signals, code: int, said: str
) -> None:
    with web(tmp_path) as store:
        store.fault = "hang"
        spawned = spawn("publish", EXAMPLE, store.url)
        wait_for(lambda: store.together > 0)
        spawned.process.send_signal(number)
        began = time.monotonic()
        assert spawned.wait() == code
        assert time.monotonic() - began < 20
    assert spawned.err == said


@contextmanager
def router(*answers: dict[str, Any], ready: bool = True) -> Iterator[str]:
    """The URL of what tells these versions one after the other, and then the last one again and again."""
    left = list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/readyz":
                self.send_response(200 if ready else 503)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            assert self.path == "/versions"
            body = json.dumps(left.pop(0) if len(left) > 1 else left[0]).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def served(serial: int, swapping: dict[str, Any] | None = None, dataset: str = EXAMPLE_ID) -> dict[str, Any]:
    return {"served": {"serial": serial, "dataset": dataset}, "swapping": swapping, "kept": []}


def published(spawn: Spawner, tmp_path: Path, *args: str) -> Spawned:
    spawned = spawn("publish", EXAMPLE, tmp_path / "catalog", *args)
    spawned.wait()
    return spawned


def test_it_waits_until_each_router_serves_it(spawn: Spawner, tmp_path: Path) -> None:
    waiting = {"serial": 1, "dataset": EXAMPLE_ID, "waiting_for": [{"shard": "a", "why": "it warms"}], "refused": None}
    none: dict[str, Any] = {"served": None, "swapping": None, "kept": []}
    with router(none, served(0), served(0, waiting), served(1)) as one, router(served(2)) as other:
        done = published(spawn, tmp_path, "--wait", one, "--if-served", other)
    assert done.wait() == 0, done.err
    assert done.out.splitlines()[-2:] == [f"served: {one}", f"served: {other}"]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (served(0), f"does not serve version 1 after 0.3 s: it serves version 0, dataset {EXAMPLE_ID}"),
        # Of a catalog that was there before this one was made anew.
        (served(1, dataset=OTHER_ID), f"does not serve version 1 after 0.3 s: it serves version 1, dataset {OTHER_ID}"),
        (served(7, dataset=OTHER_ID), f"does not serve version 1 after 0.3 s: it serves version 7, dataset {OTHER_ID}"),
        (
            served(
                0,
                {
                    "serial": 1,
                    "dataset": EXAMPLE_ID,
                    "waiting_for": [{"shard": "b", "why": "its disk is full"}, {"shard": "c", "why": "it is lost"}],
                    "refused": None,
                },
            ),
            "does not serve version 1 after 0.3 s: shard b: its disk is full, shard c: it is lost",
        ),
        (
            served(
                0, {"serial": 1, "dataset": EXAMPLE_ID, "waiting_for": [], "refused": "30 of 100 keys are gone in it"}
            ),
            "refuses version 1: 30 of 100 keys are gone in it; publish again with --force-swap if it is to be served",
        ),
        ({"served": 3}, "does not tell its versions as a ringkv router of this version does"),
    ],
)
def test_a_router_that_does_not_serve_it_is_told_with_the_reason(
    spawn: Spawner, tmp_path: Path, answer: dict[str, Any], reason: str
) -> None:
    with router(answer) as url:
        done = published(spawn, tmp_path, "--wait", url, "--wait-seconds", "0.3")
    assert done.wait() == 1
    assert done.err == f"Error: {url}: {reason}\n"
    assert done.out.splitlines()[-1].startswith("published: ")


def test_a_version_that_others_have_published_meanwhile_is_as_good(spawn: Spawner, tmp_path: Path) -> None:
    catalog, answer = Catalog.at(tmp_path / "catalog"), served(0)
    with router(answer) as url:
        waiting = spawn("publish", EXAMPLE, tmp_path / "catalog", "--wait", url)
        waiting.wait_for_line("published: ", "out")
        catalog.swap(catalog.current(), OTHER_ID, f"{OTHER_ID}.{8 * '0'}", "another", forced=False)
        answer.update(served(2, dataset=OTHER_ID))
        assert waiting.wait() == 0, waiting.err


def test_a_router_that_is_not_there_is_waited_for_only_on_wait(spawn: Spawner, tmp_path: Path) -> None:
    done = published(spawn, tmp_path, "--if-served", "http://127.0.0.1:1")
    assert done.wait() == 0
    assert done.out.splitlines()[-1] == "not waited for: http://127.0.0.1:1"
    refused = published(spawn, tmp_path, "--wait", "http://127.0.0.1:1", "--wait-seconds", "0.3")
    assert refused.wait() == 1
    assert refused.err.startswith("Error: http://127.0.0.1:1: does not serve version 1 after 0.3 s: ")
    assert len(refused.err.splitlines()) == 1


@pytest.mark.parametrize("last", [served(0), {"served": None, "swapping": None, "kept": []}])
def test_a_router_that_has_no_shard_is_waited_for_only_on_wait(
    spawn: Spawner, tmp_path: Path, last: dict[str, Any]
) -> None:
    """Compose starts shards only when publishing has ended."""
    with router(last, ready=False) as url:
        done = published(spawn, tmp_path, "--if-served", url, "--wait-seconds", "0.3")
        refused = published(spawn, tmp_path, "--wait", url, "--wait-seconds", "0.3")
    assert done.wait() == 0, done.err
    assert done.out.splitlines()[-1] == f"not waited for: {url}"
    assert refused.wait() == 1
    assert f"{url}: does not serve version 1 after 0.3 s" in refused.err


def test_a_stream_is_published_too(spawn: Spawner, catalog: str) -> None:
    piped = f"cat {EXAMPLE} | {{}} -m ringkv publish - {catalog}"
    spawned = spawn.run("bash", "-c", piped.format(sys.executable))
    assert spawned.wait() == 0, spawned.err
    assert f"dataset {EXAMPLE_ID}" in spawned.out


@pytest.mark.parametrize("name", ["a\udcff", "a\nb", "a" * 1000], ids=["no text", "two lines", "long"])
def test_a_user_of_any_name_makes_a_catalog_that_can_be_read(spawn: Spawner, tmp_path: Path, name: str) -> None:
    published = spawn("publish", EXAMPLE, tmp_path / "catalog", env={"LOGNAME": name})
    assert published.wait() == 0, published.err
    told = spawn("versions", tmp_path / "catalog")
    assert told.wait() == 0, told.err
    assert f"by {name[:1]}" in told.out
