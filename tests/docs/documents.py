"""The commands that the documents show: what stands in their fenced blocks, in order.

    ```sh                        a command a line, or several lines where the shell wants more
    curl localhost:8000/ring
    ```

    ```console                   commands after `$ `, and what they print; `…` stands for anything
    $ curl localhost:8000/<key>
    1234
    ```

    ```python                    a whole program, in one of PROGRAMS' languages, and right behind it what it prints
    print(1234)
    ```
    ```output
    1234
    ```

Whatever else a block may be, it must be known to hold no commands, so that none goes unnoticed.
"""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.token import Token

PROMPT: Final = "$ "

OTHER_LANGUAGES: Final = frozenset({"", "text", "json", "yaml", "promql"})
"""Blocks that are not run: drawings, and what files and answers look like."""

PROGRAMS: Final = {
    "python": ("python", "python -W error - <<{end}"),
    "javascript": ("node", "node --input-type=module - <<{end}"),
    "java": ("java", "mkdir -p build && cat >build/Main.java <<{end} && java build/Main.java"),
    "go": ("go", "mkdir -p build && cat >build/main.go <<{end} && go run build/main.go"),
}
"""Languages: what must be installed, and the command that runs the program behind it, which ends with a line {end}."""

OUTPUT: Final = "output"

ANYTHING: Final = "…"


class UnknownForm(Exception):
    """A document shows something that cannot be run as it stands; the message says where."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command as it is written, the lines shown as its output, and where it stands: file:line.

    A program of a document `needs` the one that runs its language.
    """

    text: str
    shown: str
    where: str
    needs: str = ""


Block = tuple[Command, ...]


def documents(root: Path) -> list[Path]:
    """Those that stand at the top, but for the changelog, and those in docs/."""
    return [
        *(root / f"{name}.md" for name in ("README", "CONTRIBUTING", "SECURITY")),
        *sorted((root / "docs").glob("*.md")),
    ]


def blocks(document: Path) -> list[Block]:
    """The blocks with commands. Raises UnknownForm."""
    found: list[Block] = []
    program: Command | None = None  # in the block before, if its output may stand in this one
    for token in MarkdownIt().parse(document.read_text()):
        line = token.map[0] + 1 if token.map else 0
        if token.type == "code_block":
            raise UnknownForm(f"{document.name}:{line}: an indented block: fence it and say what it is")
        if token.type != "fence":
            continue
        if token.info == OUTPUT:
            if program is None:
                raise UnknownForm(f"{document.name}:{line}: the output of no program")
            found[-1] = (replace(program, shown=token.content),)
        elif block := tuple(_commands(document.name, line, token)):
            found.append(block)
        program = block[0] if token.info in PROGRAMS else None
    return found


def _commands(name: str, line: int, token: Token) -> Iterator[Command]:
    """Those of one block. Raises UnknownForm."""
    where, lines = f"{name}:{{}}", list(enumerate(token.content.splitlines(), line + 1))
    if token.info in PROGRAMS:
        needs, command = PROGRAMS[token.info]
        command = command.format(end="'END OF PROGRAM'")
        yield Command(f"{command}\n{token.content}END OF PROGRAM", "", where.format(line), needs)
    elif token.info == "sh":
        yield from _script(where, lines)
    elif token.info == "console":
        yield from _console(where, lines)
    elif token.info not in OTHER_LANGUAGES:
        raise UnknownForm(f"{name}:{line}: a block of {token.info!r}: use sh or console for commands")
    elif any(text.startswith(PROMPT) for _, text in lines):
        raise UnknownForm(f"{name}:{line}: commands in a block that is not marked as console")


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
