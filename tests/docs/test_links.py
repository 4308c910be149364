"""What a document points at is there: files, headings, and every section in the table of contents."""

import re
from pathlib import Path
from typing import Final

import pytest

from tests.docs.documents import documents
from tests.docs.tables import headings
from tests.support.data import ROOT

DOCUMENTS: Final = [*documents(ROOT), ROOT / "CHANGELOG.md"]
WITH_CONTENTS: Final = ("design.md", "libraries.md")


def anchor(heading: str) -> str:
    """The name that a heading has in an address: in small letters, without punctuation, with dashes for spaces."""
    return re.sub(r"[^\w\- ]", "", heading.lower().replace("`", "")).replace(" ", "-")


def links(document: Path) -> list[tuple[Path, str]]:
    """Links to no other host: the file, and the heading in it or an empty text."""
    found = re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)", document.read_text())
    found += [(name, "") for name in re.findall(r'(?:src|srcset)="([^"]+)"', document.read_text())]
    return [(document.parent / name if name else document, heading) for name, heading in found]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_a_link_leads_to_a_file_and_a_heading(document: Path) -> None:
    for target, heading in links(document):
        assert target.exists(), target
        assert not heading or heading in map(anchor, headings(target.read_text())), f"{target}#{heading}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_a_file_that_is_named_is_there(document: Path) -> None:
    named = re.findall(r"`([\w.-]+(?:/[\w.-]+)+/?|[\w-]+\.(?:md|toml|txt|yaml))`", document.read_text())
    ours = [path for path in named if "/" not in path or (ROOT / path.partition("/")[0]).is_dir()]
    assert [path for path in ours if not (ROOT / path).exists() and not (document.parent / path).exists()] == []


@pytest.mark.parametrize("name", WITH_CONTENTS)
def test_the_table_of_contents_has_every_section(name: str) -> None:
    document = ROOT / "docs" / name
    text = document.read_text()
    contents = text[: text.index("\n## ")]
    linked = re.findall(r"\(#([^)\s]+)\)", contents)
    sections = re.findall(r"(?m)^##(#?) (.+)$", re.sub(r"(?ms)^```.*?^```", "", text))
    must = [anchor(heading) for deeper, heading in sections if not deeper]
    assert must
    assert [section for section in must if section not in linked] == []
    assert len(linked) == len({*linked})
