"""The file of tokens: which of them count, and what is said of a file that is none."""

from pathlib import Path

import pytest

from ringkv.cluster.errors import StartupError
from ringkv.process.access import AccessFiles, are_right
from ringkv.process.tokens import MAX_FILE, TokenFile


def written(folder: Path, content: bytes) -> Path:
    path = folder / "tokens"
    path.write_bytes(content)
    return path


def test_each_line_is_a_token_and_blank_lines_and_comments_are_none(tmp_path: Path) -> None:
    tokens = TokenFile(written(tmp_path, b"# ours\n\nold-one\r\n  new.one==  \n"))
    assert tokens.find(b"old-one") != tokens.find(b"new.one==")
    for wrong in (b"", b"# ours", b"old-one\r", b"old-on", b"old-one2", b"new.one", b"\xff"):
        assert tokens.find(wrong) is None
    assert tokens.find(b"old-one")
    assert tokens.find(b"new.one==")


@pytest.mark.parametrize("value", ["Bearer a1", "bearer a1", "BEARER   a1"])
def test_the_scheme_is_taken_in_any_case(tmp_path: Path, value: str) -> None:
    assert TokenFile(written(tmp_path, b"a1")).admits(value)


@pytest.mark.parametrize(
    "value", ["", "a1", "Basic a1", "Bearer", "Bearer ", "Bearera1", "Bearer a1 a1", "Bearer a2\udcff"]
)
def test_what_is_no_bearer_token_is_not_admitted(tmp_path: Path, value: str) -> None:
    assert not TokenFile(written(tmp_path, b"a1")).admits(value)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "has none, so nobody could read"),
        (b"# none\n\n", "has none, so nobody could read"),
        (b"good\ntwo words\n", r"line 2: not a token \(want letters, digits and -._~\+/, one token a line\)"),
        (b"\xc3\xa4", "line 1: not a token"),
        (b"a" * (MAX_FILE + 1), "has more than 1048576 bytes"),
    ],
)
def test_a_file_that_is_none_is_told_in_one_line_without_what_it_holds(
    tmp_path: Path, content: bytes, problem: str
) -> None:
    with pytest.raises(StartupError, match=problem) as refused:
        TokenFile(written(tmp_path, content))
    assert "\n" not in str(refused.value)
    assert "words" not in str(refused.value)
    assert str(tmp_path) in str(refused.value)


def test_a_missing_file_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match=r"tokens cannot be read: .*/none: No such file or directory"):
        TokenFile(tmp_path / "none")


def test_a_bad_file_is_logged_and_what_counted_before_counts_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = written(tmp_path, b"old\nboth\n")
    files = AccessFiles(path)
    access = files.open()
    assert access.tokens is not None
    path.write_bytes(b"two words")
    access.reload()
    assert not are_right(files.check)
    assert access.tokens.find(b"old")
    assert len(caplog.records) == 2
    assert all("what was read before goes on to count" in record.getMessage() for record in caplog.records)
    path.write_bytes(b"both\nnew\n")
    access.reload()
    assert are_right(files.check)
    assert [bool(access.tokens.find(token)) for token in (b"old", b"both", b"new")] == [False, True, True]


def test_a_file_that_was_replaced_behind_its_mount_is_not_read_again_in_silence(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = written(tmp_path, b"withdrawn\n")
    with path.open("rb") as mounted:  # leads to the file of before, as a mount of it does
        files = AccessFiles(Path(f"/proc/self/fd/{mounted.fileno()}"))
        access = files.open()
        other = tmp_path / "other"
        other.write_bytes(b"new\n")
        other.replace(path)
        access.reload()
        assert not are_right(files.check)
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]
    assert all("was replaced where it is mounted from" in record.getMessage() for record in caplog.records)
