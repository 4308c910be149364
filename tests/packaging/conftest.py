"""What the tests of packaging share: a clean copy of the tree, and what is built from it, once a run."""

import subprocess
import sys
import venv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from filelock import FileLock

from tests.support.tree import copy_tree

SITE: Final = "lib/python{}.{}/site-packages".format(*sys.version_info)


@dataclass(frozen=True, slots=True)
class Built:
    """A source distribution, the wheel that was made from it, and the wheel that was made from the tree."""

    sdist: Path
    from_sdist: Path
    from_tree: Path


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment in which nothing is installed at first, not even pip."""

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin/python"

    @property
    def site(self) -> Path:
        return self.folder / SITE

    def install(self, *what: str | Path) -> None:
        """As `pip install --no-deps` in it."""
        run(sys.executable, "-m", "pip", "--python", self.python, "install", "--quiet", "--no-deps", *what)

    def borrow_dependencies(self) -> None:
        """Let it import what the environment of the tests has: installing all of that again would take minutes.

        To be called after the last `install`, as pip would take what is borrowed for what is there.
        """
        borrowed = Path(sys.prefix) / SITE
        (self.site / "borrowed.pth").write_text(f"{borrowed}\n")


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """Run a command that must succeed; its output."""
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False, timeout=100
    )
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


@pytest.fixture(scope="session")
def tree(shared_folder: Path) -> Path:
    """The files that Git has, in a folder of their own, in which nothing is installed or built."""
    target = shared_folder / "tree"
    with FileLock(f"{target}.lock"):
        if not target.exists():
            copy_tree(target)
    return target


@pytest.fixture(scope="session")
def built(shared_folder: Path) -> Built:
    """Built with the tools of the tests' environment, which are pinned: nothing is downloaded."""
    folder = shared_folder / "dist"
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            build = (sys.executable, "-m", "build", "--no-isolation", "--outdir")
            copy = shared_folder / "source"
            copy_tree(copy)  # building leaves files behind
            run(*build, shared_folder / "building", copy)
            run(*build, shared_folder / "building/from-tree", "--wheel", copy)
            (shared_folder / "building").rename(folder)
    (sdist,), (from_sdist,), (from_tree,) = map(folder.glob, ("*.tar.gz", "*.whl", "from-tree/*.whl"))
    return Built(sdist, from_sdist, from_tree)


@pytest.fixture
def environment(tmp_path: Path) -> Callable[[str], Environment]:
    """Makes empty virtual environments."""

    def make(name: str = "environment") -> Environment:
        venv.create(tmp_path / name, with_pip=False, symlinks=True)
        return Environment(tmp_path / name)

    return make
