"""The tables of a document, as rows of plain cells by the names of their columns, each with the heading above it."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from markdown_it import MarkdownIt
from markdown_it.token import Token


@dataclass(frozen=True, slots=True)
class Row:
    """One row; `cells` have lost their backticks."""

    heading: str
    cells: dict[str, str]

    def pick(self, *columns: str) -> tuple[str, ...]:
        return tuple(self.cells[column] for column in columns)


def rows(text: str) -> Iterator[Row]:
    heading, columns, cells = "", list[str](), list[str]()
    before, in_head = "", False
    for token in _tokens(text):
        if token.type == "inline":
            if before == "heading_open":
                heading = token.content
            elif before in {"th_open", "td_open"}:
                cells.append(token.content.replace("`", ""))
        elif token.type == "tr_open":
            cells = []
        elif token.type == "thead_open":
            in_head = True
        elif token.type == "thead_close":
            in_head, columns = False, cells
        elif token.type == "tr_close" and not in_head:
            yield Row(heading, dict(zip(columns, cells, strict=True)))
        before = token.type


def headings(text: str) -> list[str]:
    tokens = _tokens(text)
    return [token.content for opened, token in pairwise(tokens) if opened.type == "heading_open"]


@lru_cache(maxsize=32)  # the longest document takes a quarter of a second, and is pointed at by a hundred links
def _tokens(text: str) -> list[Token]:
    return MarkdownIt().enable("table").parse(text)
