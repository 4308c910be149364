"""What the source keeps to beside what ruff, mypy and import-linter check."""

import ast
from typing import Final

import pytest

from tests.packaging.error_texts import comparisons, exceptions
from tests.support.data import ROOT

PRODUCT: Final = ("client", "cluster", "dataset", "deploy", "process", "resp", "ringkv", "router", "shard")
MODULES: Final = sorted(path for folder in PRODUCT for path in (ROOT / folder).rglob("*.py"))


LONGEST: Final = {"product": 300, "tests": 350}
"""Lines of a file: what one person reads in one go."""


def test_no_file_is_longer_than_one_noun_needs() -> None:
    kinds = {".py", ".js", ".css", ".html"}
    product = [path for folder in PRODUCT for path in (ROOT / folder).rglob("*") if path.suffix in kinds]
    tests = [path for folder in ("tests", "bench") for path in (ROOT / folder).rglob("*") if path.suffix in kinds]
    assert len(product) > 90
    assert len(tests) > 90
    long = {
        str(path.relative_to(ROOT)): count
        for files, limit in ((product, LONGEST["product"]), (tests, LONGEST["tests"]))
        for path in files
        if (count := len(path.read_text().splitlines())) > limit
    }
    assert not long


def lines_of(source: str) -> list[int]:
    tree = ast.parse(source)
    return list(comparisons(tree, exceptions([tree])))


def test_no_error_is_told_apart_by_its_text() -> None:
    trees = {path: ast.parse(path.read_text()) for path in MODULES}
    assert len(trees) > 80
    known = exceptions(list(trees.values()))
    assert {"CorruptBlock", "OSError", "ClientError"} <= known
    found = [f"{path.relative_to(ROOT)}:{line}" for path, tree in trees.items() for line in comparisons(tree, known)]
    assert not found


@pytest.mark.parametrize(
    "looked_at",
    [
        'str(error) == "gone"',
        '"gone" in str(error)',
        'str(error).startswith("gone")',
        'str(error).lower().find("gone") >= 0',
        'f"{error}" != "gone"',
        're.search("gone", str(error))',
        'error.args[0] == "gone"',
        'error.strerror == "gone"',
        "self.reason.startswith(CORRUPT)",
        'answer.body.startswith(b"no such key")',
        "str(error) == str(TOO_MANY)",
    ],
)
def test_looking_at_the_text_of_an_error_is_found(looked_at: str) -> None:
    handled = f"def f(self, answer):\n    try:\n        g()\n    except OSError as error:\n        return {looked_at}\n"
    assert lines_of(handled) == [5]
    typed = f"class Gone(Exception): pass\n\ndef f(self, answer, error: Gone | None):\n    return {looked_at}\n"
    assert lines_of(typed) == [4]
    checked = f"def f(self, answer, error):\n    return isinstance(error, redis.ReplyError) and {looked_at}\n"
    assert lines_of(checked) == [2]


@pytest.mark.parametrize(
    "fine",
    [
        "error.errno == errno.ENOENT",
        "isinstance(error, Gone)",
        'f"cannot be read: {error}"',
        "str(error)",
        "type(error) is Gone",
        "text.startswith(str(number))",
        "answer.body is None",
        "error.args[1] == MAX_URL",
        're.findall("[0-9]+", str(error))',
    ],
)
def test_what_errors_are_told_apart_by_is_not_found(fine: str) -> None:
    handled = (
        f"def f(text, number, answer):\n    try:\n        g()\n    except OSError as error:\n        return {fine}\n"
    )
    assert lines_of(handled) == []
