"""The page follows the cluster while shards come, leave and die, and the router itself."""

import re
import signal

import pytest
from playwright.sync_api import Route, expect

from tests.browser.page import KEY, Cluster, Visiting, ask, drawn, serves
from tests.support.processes import Spawner, wait_for


@pytest.fixture
def cluster(spawn: Spawner) -> Cluster:
    return Cluster(spawn)


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
    moved = sum(count for runs in added["moved"] for _, count in runs)
    changes = page.get_by_role("log")
    expect(changes).to_contain_text("cleo takes part")
    expect(changes).to_contain_text(re.compile(f"epoch {added['epoch']} after .* {moved} partitions change owner"))
    expect(page.locator("#ring-epoch")).to_have_text(f"keys, epoch {added['epoch']}")
    assert drawn(page, "moved") == moved > 50
    assert drawn(page, "arcs") == len(added["bands"][0])
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


def test_a_shard_that_comes_gets_a_colour_that_nobody_has_any_more(visit: Visiting, cluster: Cluster) -> None:
    visiting = visit(cluster.url)
    told = ["pod-1", "pod-2", "pod-3", "pod-4", "pod-5", "pod-6"]

    def stats(route: Route) -> None:
        response = route.fetch()
        shards = response.json()["shards"]
        shards += [shards[-1] | {"name": name, "address": f"{name}:1"} for name in told]
        route.fulfill(response=response, json=response.json() | {"shards": shards})

    visiting.page.route("**/stats", stats)
    page = visiting.open()
    expect(page.locator("#shards tr[data-shard]:not([data-shard=''])")).to_have_count(8)
    colours = {row.get_attribute("class") for row in page.locator("#shards [data-shard]:not([data-shard=''])").all()}
    assert len(colours) == 8
    told = ["pod-7"]
    expect(page.get_by_role("row", name="pod-7")).to_have_count(1)
    colours = {row.get_attribute("class") for row in page.locator("#shards [data-shard]:not([data-shard=''])").all()}
    assert len(colours) == 3
    visiting.ends_well()


def test_a_shard_that_leaves_is_seen_to(visit: Visiting, cluster: Cluster) -> None:
    cluster.start("cleo")
    visiting = visit(cluster.url)
    page = visiting.open()
    serves(page, "ada", "bob", "cleo")
    cluster.shards["cleo"].process.send_signal(signal.SIGTERM)
    serves(page, "ada", "bob")
    expect(page.get_by_role("log")).to_contain_text("cleo is about to leave")
    expect(page.get_by_role("log")).to_contain_text("partitions change owner")
    expect(page.get_by_role("row", name="cleo")).to_contain_text("lost")
    assert cluster.shards["cleo"].wait() == 0
    visiting.ends_well()


def test_it_lives_through_a_restart_of_the_router(visit: Visiting, cluster: Cluster) -> None:
    visiting = visit(cluster.url)
    page = visiting.open()
    serves(page, "ada", "bob")
    expect(page.locator("#rate-chart .line")).to_have_count(1)
    # Longer than a start takes: otherwise nothing tells its second life from its first.
    wait_for(lambda: ask(cluster.url, "stats")["uptime"] > 8)
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
    wait_for(lambda: page.locator("#rate-chart .line").count() >= 2)
    visiting.ends_well(
        but="ERR_CONNECTION_REFUSED|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE|ERR_INCOMPLETE|status of 503"
    )
