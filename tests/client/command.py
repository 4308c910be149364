"""The two programs that get values, run as a user runs them."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PYTHON = [sys.executable, "-X", "dev", "-W", "error"]
PROGRAMS = {
    "python client/get.py": [*PYTHON, "-I", "-S", str(ROOT / "client/get.py")],
    "ringkv get": [*PYTHON, "-c", "from ringkv.client.cli import get; get(prog_name='ringkv get')"],
}


class Command:
    """One of the two programs, with the address of the router in its environment."""

    def __init__(self, program: str, url: str) -> None:
        self._args = PROGRAMS[program]
        self.env = {"PATH": os.environ["PATH"], "RINGKV_URL": url}

    def run(self, *args: str, keys: bytes = b"") -> tuple[int, bytes, str]:
        """The exit code, stdout, stderr."""
        with self.start(*args) as process:
            out, err = process.communicate(keys)
        return process.returncode, out, err.decode()

    def fails(self, *args: str, keys: bytes = b"") -> str:
        """The one line on stderr."""
        code, out, err = self.run(*args, keys=keys)
        assert (code, out) == (2, b"")
        assert err.startswith("Error: ")
        assert err.count("\n") == 1
        assert err.endswith("\n")
        return err

    def start(self, *args: str, within: str = 'exec "$@"') -> subprocess.Popen[bytes]:
        pipe = subprocess.PIPE
        command = ["sh", "-c", within, "sh", *self._args, *args]
        return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, cwd=ROOT, env=self.env)
