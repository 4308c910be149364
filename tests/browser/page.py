"""What tests do with the page: look keys up, find what is shown, and change the cluster that it shows."""

import json
import sys
import urllib.request
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Locator, Page, Route, expect

from ringkv.process.address import Address
from tests.support.browser import Visit
from tests.support.data import EXAMPLE
from tests.support.processes import Spawned, SpawnedCluster, Spawner, wait_for

KEY = "f8a24bb8-eff8-41dc-929b-10b4c3e49e05"
"""In example.data."""

Visiting = Callable[..., Visit]


def url_of(cluster: SpawnedCluster) -> str:
    return f"http://{cluster.host}:{cluster.port}"


def ask(url: str, path: str) -> Any:
    with urllib.request.urlopen(f"{url}/{path}", timeout=20) as response:
        return json.load(response)


def look_up(page: Page, key: str) -> None:
    page.get_by_label("Key, a UUID version 4").fill(key)
    page.get_by_role("button", name="Look up").click()


def value(page: Page) -> Locator:
    return page.get_by_label("Value", exact=True)


def hold(page: Page, path: str) -> list[Route]:
    """Keep the first request of a path from the router: it is in the list that is returned, as soon as it is made."""
    held: list[Route] = []
    page.route(path, lambda route: held.append(route), times=1)  # noqa: PLW0108 - Playwright keeps a mark on it
    return held


class Cluster:
    """A router that knows three addresses, at which shards are started and ended one by one; two serve at first.

    `options` are the router's.
    """

    def __init__(self, spawn: Spawner, *options: str) -> None:
        self._spawn = spawn
        self._options = options
        folder = spawn.directory()
        self.addresses = {name: Address(f"{folder}/{name}", None) for name in ("ada", "bob", "cleo")}
        self.shards: dict[str, Spawned] = {}
        self.port = 0
        for name in ("ada", "bob"):
            self.start(name)
        self.start_router()
        wait_for(lambda: self.serving() == ["ada", "bob"], "not both shards serve")

    def serving(self) -> list[str]:
        return [shard["name"] for shard in ask(self.url, "stats")["shards"] if shard["state"] == "serving"]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, name: str) -> None:
        args = ["--listen", str(self.addresses[name]), "--name", name, "--leased"]
        self.shards[name] = self._spawn.run(sys.executable, "-m", "ringkv", "shard", EXAMPLE, *args)
        self.shards[name].wait_for_line(r"shard .* ready on")

    def start_router(self) -> None:
        listed = ",".join(map(str, self.addresses.values()))
        self.router = self._spawn("router", "--shards", listed, "--listen", f"127.0.0.1:{self.port}", *self._options)
        self.port = int(self.router.wait_for_line(r"router listens on 127\.0\.0\.1:(\d+)")[1])

    def layout(self) -> Any:
        return ask(self.url, "ring/layout")


def serves(page: Page, *names: str) -> None:
    """Wait until the page shows that these are the shards on the ring, and serve."""
    expect(page.locator("#legend button")).to_have_count(len(names))
    for name in names:
        expect(page.locator("#legend")).to_contain_text(name)
        expect(page.get_by_role("row", name=name).get_by_role("cell").first).to_have_text("serving")


def drawn(page: Page, group: str) -> int:
    """How many pieces of the ring's bands are drawn in a group."""
    paths = page.locator(f"#{group} path").evaluate_all("paths => paths.map(path => path.getAttribute('d'))")
    return sum(path.count("Z") for path in paths)
