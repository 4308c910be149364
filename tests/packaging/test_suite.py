"""The tests themselves pass wherever they are started."""

import os
import subprocess
import sys

from tests.support.data import ROOT


def test_ctrl_c_can_be_pressed_where_it_is_ignored() -> None:
    """A shell has programs in the background of a script ignore it, and whatever these start inherits that."""
    pytest = f"{sys.executable} -m pytest -q -n 0 -p no:cacheprovider tests/client/test_get.py -k ctrl_c"
    done = subprocess.run(
        ["bash", "-c", f"trap '' INT; exec {pytest}"],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert " passed" in done.stdout
