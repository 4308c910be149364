"""The ring is drawn as it is: every replica's owners, what moved, and each shard's part by itself."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser.page import Cluster, Visiting, ask, drawn, serves, url_of
from tests.support.data import EXAMPLE
from tests.support.processes import Spawner


@pytest.mark.parametrize("shards", [1, 12])
def test_a_ring_of_one_shard_or_many_is_drawn(visit: Visiting, spawn: Spawner, shards: int) -> None:
    url = url_of(spawn.up(EXAMPLE, "--shards", str(shards)))
    visiting = visit(url)
    page = visiting.open()
    expect(page.locator("#arcs path")).to_have_count(shards)
    expect(page.locator("#shards tr")).to_have_count(shards)
    box = page.locator("#arcs").bounding_box()
    assert box
    assert abs(box["width"] - box["height"]) < 2
    visiting.ends_well()


def pieces(page: Page, selector: str) -> int:
    """How many pieces of bands the paths have."""
    paths = page.locator(selector).evaluate_all("paths => paths.map(path => path.getAttribute('d'))")
    return sum(path.count("Z") for path in paths)


def test_with_replicas_the_ring_shows_all_that_a_shard_holds(visit: Visiting, spawn: Spawner) -> None:
    url = url_of(spawn.up(EXAMPLE, "--shards", "4", "--replicas", "2"))
    visiting = visit(url)
    page = visiting.open()
    expect(page.locator("#legend button")).to_have_count(4)
    layout, ring = ask(url, "ring/layout"), ask(url, "ring")
    assert len(layout["bands"]) == 2
    # A band a replica, each drawn whole.
    assert drawn(page, "arcs") == sum(map(len, layout["bands"]))
    owned = {shard["name"]: shard["partitions"] for shard in ring["shards"]}
    assert sum(owned.values()) == 2 * 256
    for at, name in enumerate(layout["shards"]):
        runs = [sum(shard == at for _, shard in band) for band in layout["bands"]]
        assert all(runs)
        assert pieces(page, f"#arcs [data-shard={name}]") == sum(runs)
        expect(page.locator("#legend button").nth(at)).to_contain_text(f"{100 * owned[name] / 256:.1f} %")
        expect(page.locator("#ring-title")).to_contain_text(f"{name} owns {owned[name]} of 256 partitions, ")
    # The bands lie one inside the other.
    boxes = page.locator("#arcs [data-shard=shard-1]").evaluate_all("paths => paths.map(path => path.getBBox().width)")
    assert boxes[0] > boxes[1] > 0
    visiting.ends_well()


def test_with_replicas_what_moved_is_what_a_shard_did_not_hold_before(visit: Visiting, spawn: Spawner) -> None:
    cluster = Cluster(spawn, "--replicas", "2")
    visiting = visit(cluster.url)
    page = visiting.open()
    serves(page, "ada", "bob")
    cluster.start("cleo")
    serves(page, "ada", "bob", "cleo")
    moved = sum(count for runs in cluster.layout()["moved"] for _, count in runs)
    # Two shards held everything: whatever anybody holds now and did not before, the third one holds.
    assert drawn(page, "moved") == pieces(page, "#moved [data-shard=cleo]") == moved > 100
    row = page.get_by_role("row", name="cleo").get_by_role("cell")
    expect(row.nth(6)).to_have_text(str(moved))
    visiting.ends_well()


def test_a_shard_that_is_pointed_at_is_shown_alone(visit: Visiting, spawn: Spawner) -> None:
    visiting = visit(url_of(spawn.up(EXAMPLE, "--replicas", "2")))
    page = visiting.open()
    expect(page.locator("#legend button")).to_have_count(3)
    page.get_by_role("list", name="Shards on the ring").get_by_role("button", name="shard-2").hover()
    expect(page.locator("#arcs .dimmed")).to_have_count(4)
    expect(page.locator("#ring [data-shard=shard-2].dimmed")).to_have_count(0)
    page.get_by_role("heading", name="Load").hover()
    expect(page.locator("#ring .dimmed")).to_have_count(0)
    visiting.ends_well()
