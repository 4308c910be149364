"""What keeps a command from its work is one line."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from ringkv.cli import main


@pytest.fixture
def _no_room() -> Iterator[None]:
    """No thread can be started, as each would need more memory than there are addresses."""
    before = threading.stack_size(1 << 50)
    yield
    threading.stack_size(before)


@pytest.mark.usefixtures("_no_room")
def test_that_no_thread_can_be_started_is_one_line(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["versions", str(tmp_path)])
    assert result.exit_code == 1
    assert result.output.startswith("Error: no thread can be started: raise the limit on processes with `ulimit -u`")
    assert result.output.count("\n") == 1
