"""A clean copy of the project's tree."""

import os
import shutil
import subprocess
from pathlib import Path

from tests.support.data import ROOT


def copy_tree(target: Path) -> None:
    """The files that Git has, as they are now."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, timeout=60).stdout
    for name in filter(None, listed.decode().split("\0")):
        if os.path.lexists(source := ROOT / name):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name, follow_symlinks=False)
