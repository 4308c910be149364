"""The `docker` commands of README.md and docs/, the only ones that tests/docs leaves to others."""

import re
import shlex
from typing import Final

import pytest

from tests.compose.project import Project
from tests.docs.documents import Command, blocks, documents
from tests.support.data import EXAMPLE, ROOT

COMMANDS: Final = [
    command
    for document in documents(ROOT)
    for block in blocks(document)
    for command in block
    if re.match(r"(\w+=\S+ )*docker ", command.text)
]


@pytest.fixture(scope="module")
def empty(project: Project) -> Project:
    """The project without containers: of those that another test has stopped a plan starts none, but waits for them."""
    project.variables = {}
    project.compose("down", "--volumes", "--timeout", "1")
    return project


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.where)
def test_compose_takes_the_commands_of_the_documents(empty: Project, command: Command) -> None:
    plan(empty, command.text)


def test_whoever_starts_a_cluster_waits_until_it_serves() -> None:
    """Else what follows in the document may be refused. Whoever only adds shards or routers is served meanwhile."""
    starts = [command for command in COMMANDS if re.search(r" up .*(-d|--detach)\b", command.text)]
    first = [command for command in starts if "--scale" not in command.text]
    assert len(starts) > len(first) > 1
    assert [command.where for command in first if "--wait" not in command.text] == []


@pytest.mark.parametrize("text", ["docker compose up --shards 5", "docker compose up --scale nonsense=5"])
def test_compose_refuses_what_it_does_not_know(empty: Project, text: str) -> None:
    with pytest.raises(AssertionError, match=r"--shards|nonsense"):
        plan(empty, text)


def plan(project: Project, text: str) -> None:
    """Let Compose plan what the command would do: other tests do it, and this one must not fetch Grafana."""
    project.variables = {}
    words = shlex.split(text, comments=True)
    while "=" in words[0]:
        name, value = words.pop(0).split("=", 1)
        project.variables[name] = str(EXAMPLE) if name == "DATA" else value
    assert words[:2] == ["docker", "compose"], text
    project.compose("--dry-run", *words[2:], *(["--pull", "never"] if "up" in words else []))
