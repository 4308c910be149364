"""A shell completes commands and options, as docs/operations.md says how to have it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.data import ROOT

SETUP = 'eval "$(_RINGKV_COMPLETE=bash_source ringkv)"'


def completed(*words: str) -> set[str]:
    """What bash offers in the place of the last of the words."""
    script = (
        f'{SETUP}; COMP_WORDS=("$@"); COMP_CWORD={len(words) - 1}; _ringkv_completion ringkv; echo "${{COMPREPLY[@]}}"'
    )
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", script, "bash", *words],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return {*done.stdout.split()}


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("ringkv", "s"), {"stats", "shard"}),
        (("ringkv", "up", "--re"), {"--replicas", "--redis-port", "--read-token-file"}),
        (("ringkv", "router", "--log-format", ""), {"text", "json"}),
    ],
)
def test_bash_completes_commands_options_and_values(words: tuple[str, ...], offered: set[str]) -> None:
    assert completed(*words) == offered


def test_the_documented_line_is_the_one_that_is_tested() -> None:
    assert SETUP in (ROOT / "docs" / "operations.md").read_text()
