"""A user who follows a document: in a clean copy of the tree, on a machine whose ports are all free.

The machine is a network namespace, so that the ports in the documents are nobody else's. Each command is a shell of its
own that takes over the directory and the exported variables of the one before.
"""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.docs.documents import Block, Command, UnknownForm, matches
from tests.support.data import ROOT
from tests.support.processes import MARK, Spawned, Spawner, wait_for
from tests.support.tree import copy_tree

PATIENCE: Final = 150.0
"""Seconds for one command: ten times what the longest takes on two idle cores, for machines that are not."""

READY: Final = {
    r"make( \w+=\S+)* run( \w+=\S+)*": r"(?m)^ringkv: ready on .+$",
    r"ringkv up .*": r"(?m)^ringkv: ready on .+$",
    r"ringkv shard .*": r"shard \S+ ready on",
    r"ringkv router .*": r"topology \d+ in",
}
"""Commands that stay in the foreground, and what they write once they serve."""

SCRIPT: Final = f"""
set -eo pipefail
[ ! -e "$STATE" ] || . "$STATE"
exec 2>&1
{{command}}
{{{{ export -p | grep -v -e ' {MARK}=' -e ' TMPDIR='; printf 'cd %q\\n' "$PWD"; }}}} >"$STATE"
"""


class Failed(AssertionError):
    """A command of a document did not do what the document says."""


def make_tree(tree: Path) -> Path:
    """A clean copy of the project's tree, in Git, with all that Python has compiled and a .venv."""
    copy_tree(tree)
    _git(tree, "init", "--quiet")
    _git(tree, "add", "--all")
    _add_compiled(tree)
    _add_environment(tree)
    return tree


class Reader:
    def __init__(self, spawn: Spawner, tree: Path, folder: Path) -> None:
        """`tree` is what `make_tree` has made, of which a copy is read."""
        self._spawn = spawn
        self._tree = folder / "ringkv"
        self._state = folder / "state"
        self._servers: list[tuple[Command, Spawned]] = []
        shutil.copytree(tree, self._tree, symlinks=True)
        (folder / ".curlrc").write_text("silent\nshow-error\n")
        self._state.write_text(f"cd {shlex.quote(str(self._tree))}\n")
        self._namespace = spawn.run("unshare", "--net", "bash", "-c", "ip link set lo up; echo up; exec sleep infinity")
        self._namespace.wait_for_line("up", "out")

    def follow(self, block: Block) -> None:
        """Run the block's commands. A block that starts servers begins without those before. Raises Failed."""
        if any(server_of(command) for command in block):
            self.end_servers()
        for command in block:
            if server := server_of(command):
                self._start(command, *server)
            else:
                self._run(command)

    def left_behind(self) -> str:
        """What Git would show the user as new, changed or gone, a line each."""
        return _git(self._tree, "ls-files", "--others", "--modified", "--deleted", "--exclude-standard")

    def end_servers(self) -> None:
        """Press Ctrl-C in the terminals of all servers, the latest first: nothing may be left. Raises Failed."""
        while self._servers:
            command, spawned = self._servers.pop()
            os.killpg(spawned.pid, signal.SIGINT)
            spawned.wait()
            _wait_until_gone(spawned, command)
            if "Traceback" in spawned.out:
                raise Failed(f"{command.where}: {command.text}\n{spawned.out}")

    def _run(self, command: Command) -> None:
        spawned = self._shell(command.text)
        try:
            code = spawned.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise Failed(
                f"{command.where}: {command.text}\nhas not ended after {PATIENCE:.0f} s:\n{spawned.out}"
            ) from None
        if code:
            raise Failed(f"{command.where}: {command.text}\nended with {code}:\n{spawned.out}")
        if command.shown and not matches(command.shown, spawned.out):
            raise Failed(f"{command.where}: {command.text}\nprints:\n{spawned.out}\nand not:\n{command.shown}")

    def _start(self, command: Command, text: str, ready: str) -> None:
        spawned = self._shell(text)
        try:
            spawned.wait_for_line(ready, "out")
        except AssertionError as error:
            raise Failed(f"{command.where}: {command.text}\n{error}") from None
        self._servers.append((command, spawned))
        if command.shown and not matches(command.shown, spawned.out):
            raise Failed(f"{command.where}: {command.text}\nprints:\n{spawned.out}\nand not:\n{command.shown}")

    def _shell(self, text: str) -> Spawned:
        script = SCRIPT.format(command=text)
        environment = {
            "STATE": str(self._state),
            "PATH": f"{self._tree}/.venv/bin:{os.environ['PATH']}",
            "PYTHONPATH": str(self._tree),  # before the checkout that .venv knows as ringkv
            "COLUMNS": "120",
            "CURL_HOME": str(self._state.parent),  # no progress meter: in a terminal there is none either
            "MAKEFLAGS": "",  # those of the `make` that runs the tests
            "MAKELEVEL": "",
        }
        space = f"--net=/proc/{self._namespace.pid}/ns/net"
        return self._spawn.run("nsenter", space, "bash", "-c", script, env=environment)


def _wait_until_gone(spawned: Spawned, command: Command) -> None:
    wait_for(lambda: not spawned.living(), f"{command.where}: {command.text}: processes outlive Ctrl-C")


def server_of(command: Command) -> tuple[str, str] | None:
    """What to start, and what it writes when it serves, if it is a server. Raises UnknownForm."""
    if command.needs:
        return None  # a program, whose quotation marks are not the shell's
    text, background = re.subn(r"\s*&\s*(#.*)?$", "", command.text)
    words = shlex.split(text, comments=True)
    while words and re.match(r"\w+=", words[0]):
        del words[0]
    plain = " ".join(words).removeprefix(".venv/bin/")
    if not {"-h", "--help"} & {*words}:
        for form, ready in READY.items():
            if re.fullmatch(form, plain):
                return text, ready
    if background:
        raise UnknownForm(f"{command.where}: {command.text}\nis started in the background, but no server that is known")
    return None


def _git(tree: Path, *args: str) -> str:
    done = subprocess.run(["git", *args], cwd=tree, capture_output=True, check=True, text=True, timeout=60)
    return done.stdout


def _add_compiled(tree: Path) -> None:
    """Add what Python has compiled of the same files: else each process of each document compiles it once more."""
    for folder in {source.parent.relative_to(tree) for source in tree.rglob("*.py")}:
        (tree / folder / "__pycache__").mkdir()
        for compiled in (ROOT / folder / "__pycache__").glob("*.pyc"):
            shutil.copy2(compiled, tree / folder / "__pycache__")


def _add_environment(tree: Path) -> None:
    """A .venv in which everything is installed."""
    # No link to the whole: a stamp that is older than pyproject.toml would make `make` install the copy into it.
    environment = tree / ".venv"
    environment.mkdir()
    for entry in ("bin", "lib", "include", "pyvenv.cfg"):
        (environment / entry).symlink_to(Path(sys.prefix) / entry)
    for stamp in (".run", ".dev"):
        (environment / stamp).touch()
