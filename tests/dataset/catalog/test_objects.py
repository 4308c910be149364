"""A folder and a bucket keep the same promises."""

import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from ringkv.cluster.errors import Conflict, NoSuchObject, StoreError
from ringkv.dataset.objects import PART, Objects
from tests.docs.inventory import PACKAGES
from tests.support.data import ROOT
from tests.support.store import BUCKET, StoreServer


@pytest.fixture
def objects(location: str) -> Objects:
    return Objects.at(location)


def test_what_is_written_is_read(objects: Objects, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"from a file")
    objects.create("a/one", b"12345")
    objects.create("a/two", tmp_path / "file")
    assert objects.read("a/one") == b"12345"
    assert objects.read_range("a/one", 1, 3) == b"23"
    assert objects.read("a/two") == b"from a file"
    assert [(listed.name, listed.size) for listed in objects.list()] == [("a/one", 5), ("a/two", 11)]
    assert [listed.name for listed in objects.list("a")] == ["a/one", "a/two"]
    assert list(objects.folders()) == ["a"]
    assert {listed.modified.tzinfo is not None for listed in objects.list()} == {True}


def test_what_is_moved_has_its_new_name_alone(objects: Objects) -> None:
    objects.create("a/one", b"12345")
    before = objects.look("a/one")
    assert (before.name, before.size) == ("a/one", 5)
    assert before == next(objects.list())
    objects.move("a/one", "b/two")
    assert [listed.name for listed in objects.list()] == ["b/two"]
    assert objects.read("b/two") == b"12345"
    with pytest.raises(NoSuchObject, match="a/one: no such"):
        objects.look("a/one")
    with pytest.raises(NoSuchObject):
        objects.move("a/one", "c")


def test_what_is_larger_than_a_request_is_written_whole(objects: Objects, tmp_path: Path) -> None:
    data = bytes(range(256)) * (PART // 256 * 5 // 2)
    (tmp_path / "large").write_bytes(data)
    objects.create("large", tmp_path / "large")
    objects.create("memory", data)
    assert objects.read("large") == objects.read("memory") == data


def test_what_is_not_there_is_told(objects: Objects) -> None:
    with pytest.raises(NoSuchObject, match=f"{objects.location}/a/one: no such"):
        objects.read("a/one")
    with pytest.raises(NoSuchObject):
        objects.read_range("a/one", 0, 1)
    with pytest.raises(NoSuchObject):
        objects.read_with_tag("a/one")
    assert list(objects.folders()) == []
    assert list(objects.list()) == []


def test_a_range_behind_the_end_is_no_short_read(objects: Objects) -> None:
    objects.create("one", b"12345")
    with pytest.raises(StoreError, match="one: has 5 bytes, not 6"):
        objects.read_range("one", 3, 6)
    with pytest.raises(StoreError):
        objects.read_range("one", 6, 7)


def test_nothing_is_created_twice(objects: Objects) -> None:
    objects.create("one", b"1")
    with pytest.raises(Conflict):
        objects.create("one", b"2")
    assert objects.read("one") == b"1"


def test_a_swap_replaces_only_what_was_read(objects: Objects) -> None:
    objects.swap("one", b"1", None)
    with pytest.raises(Conflict):
        objects.swap("one", b"2", None)
    _, tag = objects.read_with_tag("one")
    objects.swap("one", b"2", tag)
    with pytest.raises(Conflict, match="one: was written by somebody else"):
        objects.swap("one", b"3", tag)
    assert objects.read("one") == b"2"


def test_of_many_swaps_at_once_one_wins(objects: Objects) -> None:
    objects.swap("one", b"0", None)
    _, tag = objects.read_with_tag("one")
    begin = Barrier(8)

    def swap(number: int) -> bool:
        begin.wait()
        try:
            objects.swap("one", b"%d" % number, tag)
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = [number for number, has in enumerate(pool.map(swap, range(1, 9)), 1) if has]
    assert objects.read("one") == b"%d" % won[0]
    assert len(won) == 1


def test_a_swap_that_is_sent_again_is_no_conflict(objects: Objects) -> None:
    """The answer to the first try may be lost, though not on this machine."""
    objects.swap("one", b"0", None)
    _, tag = objects.read_with_tag("one")
    objects.swap("one", b"1", tag)
    if objects.is_local:
        with pytest.raises(Conflict):
            objects.swap("one", b"1", tag)
    else:
        objects.swap("one", b"1", tag)


def test_what_is_deleted_is_gone(objects: Objects) -> None:
    for name in ("a/one", "a/two", "b/one"):
        objects.create(name, b"1")
    objects.delete(["a/one", "a/two", "a/three"])
    assert [listed.name for listed in objects.list()] == ["b/one"]
    assert "b" in objects.folders()


def test_a_file_url_is_its_folder(tmp_path: Path) -> None:
    Objects.at(str(tmp_path / "a b")).create("one", b"1")
    assert Objects.at(f"file://{tmp_path}/a%20b").read("one") == b"1"


def test_what_is_written_to_a_folder_others_may_read_as_the_umask_says(tmp_path: Path) -> None:
    """Shards may run as another user."""
    objects = Objects.at(tmp_path)
    (tmp_path / "source").touch(0o600)
    objects.create("created", tmp_path / "source")
    objects.swap("swapped", b"1", None)
    (tmp_path / "as usual").touch()
    modes = {(tmp_path / name).stat().st_mode for name in ("created", "swapped", "as usual")}
    assert len(modes) == 1


def test_a_web_server_is_read_and_not_written(bucket: str, store: StoreServer) -> None:
    Objects.at(bucket).create("a/one", b"12345")
    web = Objects.at(f"{store.web}/{BUCKET}/{bucket.rpartition('/')[2]}")
    assert web.read("a/one") == b"12345"
    assert web.read_range("a/one", 1, 3) == b"23"
    with pytest.raises(NoSuchObject):
        web.read("a/two")
    writes: list[Callable[[], None]] = [
        lambda: web.create("a", b""),
        lambda: web.swap("a", b"", None),
        lambda: web.delete(["a/one"]),
    ]
    for write in writes:
        with pytest.raises(StoreError, match="a web server is only read from"):
            write()
    looks: list[Callable[[], object]] = [web.folders, lambda: list(web.list())]
    for look in looks:
        with pytest.raises(StoreError, match="does not tell what it has"):
            look()


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("ftp://host/path", "is not the address of a store (want a path, or one of s3://, gs://, az://"),
        ("s3://", "is not the address of a store"),
        ("s3://user:secret@bucket/path", "s3://bucket/path: is not the address of a store: it has a user"),
        ("https://host/path?signature=1", "https://host/path: is not the address of a store: it has a user, `?` or"),
        ("az://container/path", "Account must be specified"),
    ],
)
def test_what_is_no_address_is_refused(address: str, reason: str) -> None:
    with pytest.raises(StoreError) as refused:
        Objects.at(address)
    assert reason in str(refused.value)
    assert "secret" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_who_may_not_log_in_is_told_so(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(StoreError, match=r"one: access denied: The request signature .*; check the credentials"):
        Objects.at(bucket).read("one")
    with pytest.raises(StoreError, match=f"{bucket}: The request signature"):
        Objects.at(bucket).folders()


def test_a_store_that_is_away_is_told_in_a_line(monkeypatch: pytest.MonkeyPatch, bucket: str) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setattr("ringkv.dataset.store_objects.RETRIES", {"max_retries": 1})
    with pytest.raises(StoreError, match=f"^{bucket}/one: cannot be reached$"):
        Objects.at(bucket).read("one")


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match="is not in a folder"):
        Objects.at(tmp_path / "file").read("one")


def test_one_module_knows_the_library() -> None:
    source = [path for name in PACKAGES for path in (ROOT / name).rglob("*.py")]
    knows = [path for path in source if re.search(r"^\s*(import|from) obstore", path.read_text(), re.MULTILINE)]
    assert [str(path.relative_to(ROOT)) for path in knows] == ["dataset/store_objects.py"]


def test_who_reads_folders_alone_does_not_load_it(tmp_path: Path) -> None:
    code = "import sys, ringkv.shard.server; ringkv.dataset.objects.Objects.at(sys.argv[1])"
    code += "; print('obstore' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
