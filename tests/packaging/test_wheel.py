"""What is installed: one package and one command, complete, and the same from the tree as from what is published."""

import hashlib
import re
import tarfile
import zipfile
from pathlib import Path
from typing import Final

import ringkv
from tests.packaging.conftest import Built
from tests.support.data import ROOT

APACHE: Final = "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"
"""The SHA-256 of the licence's text, as https://www.apache.org/licenses/LICENSE-2.0.txt has it."""


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def described(wheel: Path, name: str) -> str:
    (found,) = (content for path, content in contents(wheel).items() if path.endswith(f".dist-info/{name}"))
    return found.decode()


def test_a_wheel_installs_one_name_and_one_command(built: Built) -> None:
    wheel = built.from_tree
    folders = {name.partition("/")[0] for name in contents(wheel)}
    assert folders == {"ringkv", f"ringkv-{ringkv.__version__}.dist-info"}
    assert described(wheel, "top_level.txt").split() == ["ringkv"]
    assert described(wheel, "entry_points.txt").split() == ["[console_scripts]", "ringkv", "=", "ringkv.cli:main"]


def test_a_wheel_has_every_module_and_all_of_the_page(built: Built) -> None:
    packed = {name for name in contents(built.from_tree) if name.startswith("ringkv/")}
    # pathlib does not follow the links to the other folders, and so each file is seen where it stands.
    roots = [(link.resolve(), f"ringkv/{link.name}") for link in (ROOT / "ringkv").iterdir() if link.is_symlink()]
    files = {
        f"{name}/{path.relative_to(root)}"
        for root, name in [*roots, (ROOT / "ringkv", "ringkv")]
        for path in root.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
        # What else stands in deploy/ is for a checkout.
        if path.suffix in {".py", ".typed"} or root.name == "router"
    }
    assert {"ringkv/py.typed", "ringkv/router/page/index.html", "ringkv/router/lookup/link.py"} <= files
    assert packed == files


def test_the_source_distribution_makes_the_same_wheel(built: Built) -> None:
    record = re.compile(r"\.dist-info/RECORD$")
    from_sdist, from_tree = (
        {name: content for name, content in contents(wheel).items() if not record.search(name)}
        for wheel in (built.from_sdist, built.from_tree)
    )
    assert from_sdist == from_tree
    with tarfile.open(built.sdist) as archive:
        assert not [member.name for member in archive if not (member.isfile() or member.isdir())]


def test_the_licence_is_apache_2(built: Built) -> None:
    text = (ROOT / "LICENSE").read_text()
    blank = text.replace("Copyright 2026 The ringkv authors", "Copyright [yyyy] [name of copyright owner]")
    assert hashlib.sha256(blank.encode()).hexdigest() == APACHE
    assert described(built.from_tree, "licenses/LICENSE") == text
    assert "\nLicense-Expression: Apache-2.0\n" in described(built.from_tree, "METADATA")


def test_the_version_stands_in_one_place_and_is_the_newest_release(built: Built) -> None:
    metadata = described(built.from_tree, "METADATA")
    releases = re.findall(r"(?m)^## \[(\d+\.\d+\.\d+)\] - \d{4}-\d{2}-\d{2}$", (ROOT / "CHANGELOG.md").read_text())
    assert f"\nVersion: {ringkv.__version__}\n" in metadata
    assert releases[0] == ringkv.__version__
    assert sorted(releases, key=lambda release: [int(part) for part in release.split(".")], reverse=True) == releases
