"""CONTRIBUTING.md says truly where things are added: every file that it names is there."""

from typing import Final

import pytest

from tests.docs.tables import rows
from tests.support.data import ROOT

TEXT: Final = (ROOT / "CONTRIBUTING.md").read_text()
ADDED: Final = (
    "An endpoint of the router",
    "A command of a shard",
    "A source of data",
    "A metric",
    "A fault scenario",
)


@pytest.mark.parametrize("what", ADDED)
def test_it_says_which_files_an_addition_touches(what: str) -> None:
    files = [row.pick("file")[0].strip("`") for row in rows(TEXT) if row.heading == what]
    assert any(name.startswith("tests/") for name in files), files
    assert len(files) > 2
    assert [name for name in files if not (ROOT / name).is_file()] == []
    assert len({*files}) == len(files)
