"""The commands that the documents show: what stands in their fenced blocks, in order.

    ```sh                        a command a line, or several lines where the shell wants more
    curl localhost:8000/ring
    ```

    ```console                   commands after `$ `, and what they print; `…` stands for anything
    $ curl localhost:8000/<key>
    1234
    ```

Whatever else a block may be, it must be known to hold no commands, so that none goes unnoticed.
"""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from markdown_it import MarkdownIt

PROMPT: Final = "$ "

OTHER_LANGUAGES: Final = frozenset({"", "text", "json", "yaml", "promql"})
"""Blocks without commands: drawings, and what files and answers look like."""

ANYTHING: Final = "…"


class UnknownForm(Exception):
    """A document shows something of which nobody knows how to run it; says where."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command as it is written, the lines shown as its output, and where it stands: file:line."""

    text: str
    shown: str
    where: str


Block = tuple[Command, ...]


def documents(root: Path) -> list[Path]:
    return [root / "README.md", *sorted((root / "docs").glob("*.md"))]


def blocks(document: Path) -> list[Block]:
    """The blocks with commands. Raises UnknownForm."""
    found = []
    for token in MarkdownIt().parse(document.read_text()):
        line = token.map[0] + 1 if token.map else 0
        if token.type == "code_block":
            raise UnknownForm(f"{document.name}:{line}: an indented block: fence it and say what it is")
        if token.type != "fence":
            continue
        where, lines = f"{document.name}:{{}}", list(enumerate(token.content.splitlines(), line + 1))
        if token.info == "sh":
            found.append(tuple(_script(where, lines)))
        elif token.info == "console":
            found.append(tuple(_console(where, lines)))
        elif token.info not in OTHER_LANGUAGES:
            raise UnknownForm(f"{document.name}:{line}: a block of {token.info!r}: use sh or console for commands")
        elif any(text.startswith(PROMPT) for _, text in lines):
            raise UnknownForm(f"{document.name}:{line}: commands in a block that is not marked as console")
    return found


def matches(shown: str, output: str) -> bool:
    """Whether this is the output that is shown, but for spaces at the ends of its lines."""
    pattern = ".*".join(map(re.escape, _stripped(shown).split(ANYTHING)))
    return re.fullmatch(pattern, _stripped(output), re.DOTALL) is not None


def _stripped(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def _script(where: str, lines: list[tuple[int, str]]) -> Iterator[Command]:
    first, text = 0, ""
    for number, line in lines:
        if not text and (not line.strip() or line.lstrip().startswith("#")):
            continue
        first, text = (first, f"{text}\n{line}") if text else (number, line)
        if _complete(text):
            yield Command(text, "", where.format(first))
            text = ""
    if text:
        raise UnknownForm(f"{where.format(first)}: a command without an end: {text}")


def _console(where: str, lines: list[tuple[int, str]]) -> Iterator[Command]:
    first, text, shown = 0, "", list[str]()
    for number, line in lines:
        if line.startswith(PROMPT):
            if text:
                yield Command(text, "\n".join(shown), where.format(first))
            first, text, shown = number, line.removeprefix(PROMPT), []
        elif not text:
            raise UnknownForm(f"{where.format(number)}: {line!r} before the first {PROMPT!r}")
        else:
            shown.append(line)
    if text:
        yield Command(text, "\n".join(shown), where.format(first))


def _complete(text: str) -> bool:
    """Whether the shell would run this, or wait for more lines."""
    if text.endswith("\\"):
        return False
    done = subprocess.run(["bash", "-n", "-c", text], capture_output=True, check=False, timeout=10)
    return done.returncode == 0 and not done.stderr  # a here-document without its end is only warned of
