"""`make screenshots`: the pictures of the page for the README, of a cluster of five shards under some load.

A shard is killed shortly before, so that the pictures show what moves.
"""

import io
import os
import signal
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from PIL import Image
from playwright.sync_api import Page

from tests.support.browser import Visit, chromium
from tests.support.data import EXAMPLE
from tests.support.processes import SpawnedCluster, Spawner, wait_for

KEY: Final = "f8a24bb8-eff8-41dc-929b-10b4c3e49e05"
LOAD: Final = 60.0
"""Seconds of load before the first picture: what a line over the last minutes needs to be one."""

LARGEST: Final = 300_000
"""Bytes of a picture: who reads the README waits for all of them."""

PICTURES: Final[dict[str, dict[str, Any]]] = {
    "light": {"color_scheme": "light", "viewport": {"width": 1280, "height": 800}},
    "dark": {"color_scheme": "dark", "viewport": {"width": 1280, "height": 800}},
    "shard": {"color_scheme": "light", "viewport": {"width": 1280, "height": 800}},
    "phone": {"color_scheme": "light", "viewport": {"width": 390, "height": 844}, "device_scale_factor": 2},
}


def main(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as cache, chromium() as browser:
        spawner = Spawner(Path(cache))
        try:
            cluster = spawner.up(EXAMPLE, "--shards", "5", "--replicas", "2")
            load = spawner.run(
                sys.executable, "-m", "tests.chaos.load", EXAMPLE, "--url", f"127.0.0.1:{cluster.port}",
                "--output", Path(cache) / "load.npz",
            )  # fmt: skip
            visits = {name: Visit(browser, f"http://127.0.0.1:{cluster.port}", **how) for name, how in PICTURES.items()}
            for visit in visits.values():
                visit.open(f"#{KEY}")
            # The pages watch the load, and are what the pictures are of: here time itself is waited for.
            time.sleep(LOAD)
            _kill_a_shard(cluster)
            for name, visit in visits.items():
                _wait_for_the_ring(visit.page)
                if name == "shard":
                    _open_a_shard(visit.page)
                _keep(visit.page.screenshot(), folder / f"page-{name}.png")
                visit.context.close()
            load.process.terminate()
            load.wait()
        finally:
            spawner.close()


def _kill_a_shard(cluster: SpawnedCluster) -> None:
    path = next(cluster.spawned.runtime.rglob("shard-2.sock"))
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        pid = int.from_bytes(client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)[:4], sys.byteorder)
    os.kill(pid, signal.SIGKILL)


def _wait_for_the_ring(page: Page) -> None:
    """Until the page shows the shard back: it left with one change of the ring, and came with the next."""
    wait_for(lambda: "epoch 3" in (page.locator("#ring").text_content() or ""))
    wait_for(lambda: page.locator("#legend button").count() == 5)


def _open_a_shard(page: Page) -> None:
    page.get_by_role("list", name="Shards on the ring").get_by_role("button", name="shard-2").click()
    wait_for(lambda: "takes part again" in (page.get_by_role("dialog").text_content() or ""))


def _keep(picture: bytes, path: Path) -> None:
    """As it is, or where that is too large in 256 colours, chosen so that small things keep theirs."""
    with Image.open(io.BytesIO(picture)) as image:
        whole = image.convert("RGB")
        whole.save(path, optimize=True)
        if path.stat().st_size > LARGEST:
            whole.quantize(256, Image.Quantize.MAXCOVERAGE).save(path, optimize=True)


if __name__ == "__main__":
    main(Path("docs"))
