"""Installed beside other people's packages and files it takes nobody's name, and works."""

import base64
import csv
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

import ringkv
from tests.packaging.conftest import Built, Environment, run
from tests.support.data import EXAMPLE, ROOT
from tests.support.processes import Spawner

DATASET = "dataset", "2.0.0"
"""A package on PyPI whose name one of our folders has."""

KEY = "f8a24bb8-eff8-41dc-929b-10b4c3e49e05"

Make = Callable[[], Environment]


@pytest.fixture(scope="session")
def dataset() -> Path:
    """PyPI's `dataset`, downloaded once."""
    name, version = DATASET
    folder = ROOT / "build/wheels"
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    with FileLock(folder / "lock"):
        if not wheel.exists():
            try:
                run(sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder, f"{name}=={version}")
            except AssertionError as error:
                if os.environ.get("CI") == "true":
                    raise
                pytest.skip(f"pip cannot download {name}: {error}")
    return wheel


def changed_files(environment: Environment, package: str) -> list[str]:
    """The files of an installed package that are not what its wheel held."""
    (record,) = environment.site.glob(f"{package}-*.dist-info/RECORD")
    changed = []
    for name, digest, _ in csv.reader(record.read_text().splitlines()):
        if digest:
            found = hashlib.sha256((environment.site / name).read_bytes()).digest()
            if digest != f"sha256={base64.urlsafe_b64encode(found).decode().rstrip('=')}":
                changed.append(name)
    return changed


@pytest.mark.timeout(300)  # each step has a deadline of its own
@pytest.mark.parametrize("order", ["before", "after"])
def test_it_serves_beside_a_package_and_a_module_of_the_same_names(
    *, order: str, built: Built, dataset: Path, environment: Make, tmp_path: Path, spawn: Spawner
) -> None:
    installed = environment()
    for wheel in [dataset, built.from_tree] if order == "before" else [built.from_tree, dataset]:
        installed.install(wheel)
    assert (installed.site / "dataset/database.py").exists()
    assert changed_files(installed, "dataset") == changed_files(installed, "ringkv") == []
    installed.borrow_dependencies()
    mine = tmp_path / "mine"
    mine.mkdir()
    for name in ("router", "shard", "client"):
        (mine / f"{name}.py").write_text(f"raise SystemExit('the {name}.py of the user was imported')\n")
    where = "from importlib.util import find_spec; print(find_spec('dataset').origin)"
    assert Path(run(installed.python, "-c", where, cwd=mine).strip()) == installed.site / "dataset/__init__.py"
    within = ("sh", "-c", 'cd "$0" && exec "$@"', mine)
    for command in ([installed.folder / "bin/ringkv"], [installed.python, "-m", "ringkv"]):
        up = spawn.run(*within, *command, "up", EXAMPLE, "--port", "0", "--shards", "2")
        cluster = spawn.cluster(up)
        url = f"http://{cluster.host}:{cluster.port}"
        assert run(*command, "get", KEY, "--url", url, cwd=mine) == "1234\n"


def test_an_editable_installation_finds_every_room(tree: Path, environment: Make, tmp_path: Path) -> None:
    installed = environment()
    installed.install("--editable", tree)
    installed.borrow_dependencies()
    imports = "import ringkv.router.lookup.lookup as lookup; print(lookup.__file__)"
    where = run(installed.python, "-c", imports, cwd=tmp_path).strip()
    assert Path(where).resolve() == (tree / "router/lookup/lookup.py").resolve()
    assert run(installed.python, "-m", "ringkv", "--version", cwd=tmp_path) == f"ringkv {ringkv.__version__}\n"
    assert run(installed.folder / "bin/ringkv", "--version", cwd=tmp_path) == f"ringkv {ringkv.__version__}\n"


def test_a_type_checker_reads_the_annotations_of_what_is_installed(
    built: Built, environment: Make, tmp_path: Path
) -> None:
    installed = environment()
    installed.install(built.from_tree)
    script = tmp_path / "mine.py"
    script.write_text("from ringkv.client.get import Client\n\nvalue: str = Client().get('f8a24bb8')\n")
    mypy = (sys.executable, "-m", "mypy", "--strict", "--python-executable", installed.python)
    config = tmp_path / "mypy.ini"
    config.write_text("[mypy]\n")
    checked = subprocess.run(
        [*mypy, "--config-file", config, "--cache-dir", tmp_path / "cache", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert "mine.py:3: error: Incompatible types in assignment (expression has type" in checked.stdout
    assert "Found 1 error in 1 file" in checked.stdout, checked.stdout
