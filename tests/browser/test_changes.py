"""The page follows the cluster while shards come, leave and die, and the router itself."""

import json
import re
import signal
import sys
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from cluster.address import Address
from tests.support.browser import Visit
from tests.support.data import EXAMPLE
from tests.support.processes import Spawned, Spawner, wait_for

KEY = "f8a24bb8-eff8-41dc-929b-10b4c3e49e05"

Visiting = Callable[..., Visit]


class Cluster:
    """A router that knows three addresses, at which shards are started and ended one by one."""

    def __init__(self, spawn: Spawner) -> None:
        self._spawn = spawn
        folder = spawn.directory()
        self.addresses = {name: Address(f"{folder}/{name}", None) for name in ("ada", "bob", "cleo")}
        self.shards: dict[str, Spawned] = {}
        self.port = 0
        for name in ("ada", "bob"):
            self.start(name)
        self.start_router()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, name: str) -> None:
        args = ["--listen", str(self.addresses[name]), "--name", name, "--leased"]
        self.shards[name] = self._spawn.run(sys.executable, "-m", "shard", EXAMPLE, *args)
        self.shards[name].wait_for_line(r"shard .* ready on")

    def start_router(self) -> None:
        listed = ",".join(map(str, self.addresses.values()))
        self.router = self._spawn("router", "--shards", listed, "--listen", f"127.0.0.1:{self.port}")
        self.port = int(self.router.wait_for_line(r"router listens on \('127.0.0.1', (\d+)\)")[1])

    def layout(self) -> Any:
        with urllib.request.urlopen(f"{self.url}/ring/layout", timeout=20) as response:
            return json.load(response)


@pytest.fixture
def cluster(spawn: Spawner) -> Cluster:
    return Cluster(spawn)


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


def test_it_follows_a_shard_that_is_added_and_one_that_is_killed(visit: Visiting, cluster: Cluster) -> None:
    visiting = visit(cluster.url)
    page = visiting.open()
    serves(page, "ada", "bob")
    first = cluster.layout()
    expect(page.locator("#ring-epoch")).to_have_text(f"keys, epoch {first['epoch']}")
    expect(page.get_by_role("row", name="not there yet")).to_contain_text("lost")
    assert drawn(page, "moved") == 0

    cluster.start("cleo")
    serves(page, "ada", "bob", "cleo")
    added = cluster.layout()
    moved = sum(count for _, count in added["moved"])
    changes = page.get_by_role("log")
    expect(changes).to_contain_text("cleo is serving")
    expect(changes).to_contain_text(f"epoch {added['epoch']}: {moved} of 256 partitions moved")
    expect(page.locator("#ring-epoch")).to_have_text(f"keys, epoch {added['epoch']}")
    assert drawn(page, "moved") == moved > 50
    assert drawn(page, "arcs") == len(added["arcs"])
    # Who came takes over what moved, and nobody else.
    expect(page.locator("#moved [data-shard=cleo]")).to_have_attribute("d", re.compile("Z"))
    assert page.locator("#moved path").evaluate_all("paths => paths.filter(path => path.getAttribute('d')).length") == 1

    cluster.shards["ada"].process.kill()
    serves(page, "bob", "cleo")
    expect(changes).to_contain_text("ada is lost")
    expect(page.get_by_role("row", name="ada")).to_contain_text("lost")
    killed = cluster.layout()
    expect(page.locator("#ring-epoch")).to_have_text(f"keys, epoch {killed['epoch']}")
    expect(page.locator("#ring-keys")).to_have_text("10,000")
    assert killed["shards"] == ["bob", "cleo"]
    visiting.ends_well()


def test_a_shards_colour_stays_while_others_come_and_go(visit: Visiting, cluster: Cluster) -> None:
    visiting = visit(cluster.url)
    page = visiting.open()
    serves(page, "ada", "bob")
    colour = page.locator("#arcs [data-shard=bob]").get_attribute("class")
    cluster.shards["ada"].process.kill()
    serves(page, "bob")
    assert page.locator("#arcs [data-shard=bob]").get_attribute("class") == colour
    expect(page.get_by_role("row", name="bob")).to_have_class(str(colour))
    visiting.ends_well()


def test_a_shard_that_leaves_is_seen_to(visit: Visiting, cluster: Cluster) -> None:
    cluster.start("cleo")
    visiting = visit(cluster.url)
    page = visiting.open()
    serves(page, "ada", "bob", "cleo")
    cluster.shards["cleo"].process.send_signal(signal.SIGTERM)
    serves(page, "ada", "bob")
    expect(page.get_by_role("log")).to_contain_text("partitions moved")
    expect(page.get_by_role("row", name="cleo")).to_contain_text("lost")
    assert cluster.shards["cleo"].wait() == 0
    visiting.ends_well()


def test_it_lives_through_a_restart_of_the_router(visit: Visiting, cluster: Cluster) -> None:
    visiting = visit(cluster.url)
    page = visiting.open()
    serves(page, "ada", "bob")
    expect(page.locator("#chart .line")).to_have_count(1)
    cluster.router.process.terminate()
    expect(page.locator("#connection")).to_have_text("The router cannot be reached; trying again")
    cluster.router.wait()
    cluster.start_router()
    expect(page.locator("#connection")).to_have_text("Live")
    serves(page, "ada", "bob")
    page.get_by_label("Key, a UUID version 4").fill(KEY)
    page.keyboard.press("Enter")
    expect(page.get_by_label("Value", exact=True)).to_have_text("1234")
    # The line has a gap where nothing is known, and goes on behind it.
    wait_for(lambda: page.locator("#chart .line").count() >= 2)
    visiting.ends_well(
        but="ERR_CONNECTION_REFUSED|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE|ERR_INCOMPLETE|status of 503"
    )
