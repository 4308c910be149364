"""A real object store for tests: SeaweedFS, which speaks the protocol of S3 with conditional puts and ranges."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from tests.support.processes import PATIENCE

PROGRAM: Final = Path(sys.executable).with_name("weed")
ATTEMPTS: Final = 5
BUCKET: Final = "tests"

PORTS: Final = (
    "master.port",
    "master.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "filer.port",
    "filer.port.grpc",
    "s3.port",
    "s3.port.grpc",
)
"""All that it opens with these options; the others it would open are switched off."""

WITH_PARENT: Final = ("setpriv", "--pdeathsig", "KILL")
"""Lets the kernel kill what follows when the tests' own process ends, also if that is killed."""

KEYS: Final = """{"identities": [{"name": "tests", "actions": ["Admin"],
    "credentials": [{"accessKey": "tests", "secretKey": "not a secret"}]}]}"""


class StoreServer:
    """A server of its own on free ports of one address, with all that it writes in a folder of its own."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self._host = host
        self._folder = Path(tempfile.mkdtemp(prefix="rkv-store-", dir="/tmp"))
        self._process: subprocess.Popen[bytes] | None = None
        (self._folder / "s3.json").write_text(KEYS)
        for _ in range(ATTEMPTS):
            self._start()
            if self._is_up():
                return
            self._stop()  # somebody else has taken one of the ports meanwhile
        log = (self._folder / "log").read_text()[-2000:]
        self.close()
        raise AssertionError(f"no store could be started: {log}")

    @property
    def env(self) -> dict[str, str]:
        """What its users have in their environment."""
        return {
            "AWS_ENDPOINT_URL": f"http://{self._host}:{self.ports['s3.port']}",
            "AWS_ACCESS_KEY_ID": "tests",
            "AWS_SECRET_ACCESS_KEY": "not a secret",
            "AWS_REGION": "us-east-1",
            "NO_PROXY": self._host,
        }

    @property
    def web(self) -> str:
        """Where the same objects can be read from by plain HTTP: this, and then the bucket and the name."""
        return f"http://{self._host}:{self.ports['filer.port']}/buckets"

    def location(self) -> str:
        """The address of a prefix that nobody has used."""
        return f"s3://{BUCKET}/{uuid.uuid4().hex}"

    def close(self) -> None:
        self._stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self) -> None:
        self.ports = dict(zip(PORTS, _free_ports(len(PORTS), self._host), strict=True))
        data = Path(tempfile.mkdtemp(dir=self._folder))
        options = {
            **self.ports,
            "dir": data,
            "ip": self._host,
            "ip.bind": self._host,
            "s3.config": self._folder / "s3.json",
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            "filer.localSocket": data / "filer.sock",
            "s3.localSocket": data / "s3.sock",
            "volume.max": 100,
            "master.volumeSizeLimitMB": 64,
            "master.telemetry": "false",
        }
        args = [f"-{name}={value}" for name, value in options.items()]
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [*WITH_PARENT, PROGRAM, "-logtostderr", "server", "-s3", *args],
                cwd=data,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _is_up(self) -> bool:
        """Wait until an object can be written; False if the process ends before."""
        assert self._process is not None
        env = self.env
        until = time.monotonic() + PATIENCE
        while self._process.poll() is None and time.monotonic() < until:
            with suppress(BaseError):
                store = S3Store(
                    BUCKET,
                    endpoint=env["AWS_ENDPOINT_URL"],
                    access_key_id=env["AWS_ACCESS_KEY_ID"],
                    secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
                    client_options={"allow_http": True, "proxy_excludes": self._host},
                    retry_config={"max_retries": 0},
                )
                obstore.put(store, "up", b"")
                return True
            time.sleep(0.05)
        return False

    def _stop(self) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(PATIENCE)
            self._process = None


def _free_ports(count: int, host: str) -> list[int]:
    """Ports that were free just now."""
    with ExitStack() as stack:
        ports: list[int] = []
        while len(ports) < count:
            listener = stack.enter_context(socket.socket())
            listener.bind((host, 0))
            ports.append(listener.getsockname()[1])
        return ports
