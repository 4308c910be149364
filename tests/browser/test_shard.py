"""One shard more closely: what it holds, what it does, its last hour, and what has happened to it."""

import random
import re
import urllib.request

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.browser.page import Cluster, Visiting, ask, serves
from tests.support.data import EXAMPLE, read_pairs
from tests.support.processes import Spawner, wait_for

NOTHING = "\N{EN DASH}"


def some_load(url: str, keys: list[str]) -> None:
    """Ask for some of the keys, others each time: those that are asked for again the router answers by itself."""
    for key in random.sample(keys, 60):
        with urllib.request.urlopen(f"{url}/{key}", timeout=20) as response:
            response.read()


def opened(page: Page, name: str) -> Locator:
    """The view of a shard, opened from the table."""
    page.get_by_role("table").get_by_role("button", name=name).click()
    shard = page.get_by_role("dialog", name=name)
    expect(shard).to_be_visible()
    return shard


@pytest.fixture
def cluster(spawn: Spawner) -> Cluster:
    return Cluster(spawn, "--replicas", "2")


@pytest.mark.parametrize("where", ["ring", "legend", "table"])
def test_a_shard_is_opened_from_wherever_it_is_seen(visit: Visiting, cluster: Cluster, where: str) -> None:
    visiting = visit(cluster.url, viewport={"width": 1280, "height": 900})
    page = visiting.open()
    serves(page, "ada", "bob")
    match where:
        case "ring":
            # The middle of its first arc: the mean of the corners, which the path begins with.
            x, y = page.locator("#arcs [data-shard=bob]").first.evaluate(
                """path => {
                  const numbers = path.getAttribute("d").split("Z")[0].match(/-?[0-9.]+/g).map(Number);
                  const [ax, ay, , , , , , bx, by, cx, cy, , , , , , dx, dy] = numbers;
                  const middle = new DOMPoint((ax + bx + cx + dx) / 4, (ay + by + cy + dy) / 4);
                  const { x, y } = middle.matrixTransform(path.getScreenCTM());
                  return [x, y];
                }"""
            )
            page.mouse.click(x, y)
        case "legend":
            page.get_by_role("list", name="Shards on the ring").get_by_role("button", name="bob").click()
        case _:
            opened(page, "bob")
    expect(page.get_by_role("dialog", name="bob")).to_be_visible()
    expect(page.locator("#ring [data-shard=bob].dimmed")).to_have_count(0)
    expect(page.locator("#arcs [data-shard=ada].dimmed")).to_have_count(2)
    page.get_by_role("button", name="Close").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.locator("#ring .dimmed")).to_have_count(0)
    visiting.ends_well()


def test_a_shard_shows_what_it_holds_and_does(visit: Visiting, cluster: Cluster) -> None:
    cluster.start("cleo")
    visiting = visit(cluster.url)
    page = visiting.open()
    serves(page, "ada", "bob", "cleo")
    shard = opened(page, "cleo")
    told = next(one for one in ask(cluster.url, "stats")["shards"] if one["name"] == "cleo")
    first = sum(owner == "cleo" for owner in owners(cluster, 0))
    second = sum(owner == "cleo" for owner in owners(cluster, 1))
    assert first + second == told["partitions"]
    expect(shard).to_contain_text("serving")
    expect(page.locator("#shard-keys")).to_have_text(f"{told['keys']:,}")
    expect(page.locator("#shard-address")).to_have_text(told["address"])
    expect(page.locator("#shard-partitions")).to_have_text(
        f"{told['partitions']}: as owner {first} first, {second} second"
    )
    events = shard.get_by_role("list")
    expect(events).to_contain_text("cleo takes part")
    expect(events).not_to_contain_text("ada")
    keys = [key.decode() for key, _ in read_pairs(EXAMPLE)]

    # Until its history has it too, which leaves out the 5 s in which a shard came.
    past = shard.get_by_role("img", name=re.compile("^Latency: p99 .* now, at most "))

    def measured() -> bool:
        some_load(cluster.url, keys)
        return past.count() == 1 and re.search("[1-9]", page.locator("#shard-rate").inner_text()) is not None

    wait_for(measured)
    expect(page.locator("#shard-p99")).to_have_text(re.compile(r"^[\d.]+ (µs|ms|s)$"))
    for chart in ("Requests per second", "Latency"):
        expect(shard.get_by_role("img", name=re.compile(f"^{chart}: .* now, at most "))).to_be_visible()
    for line in ("faint", "line"):
        expect(page.locator(f"#shard-latency-chart .line.{line}").first).to_be_attached()
    visiting.ends_well()


def owners(cluster: Cluster, band: int) -> list[str]:
    """The owner of every partition in one band."""
    layout = cluster.layout()
    runs = layout["bands"][band]
    ends = [first for first, _ in runs[1:]] + [layout["partitions"]]
    return [layout["shards"][shard] for (first, shard), end in zip(runs, ends, strict=True) for _ in range(first, end)]


def test_a_shard_that_is_lost_has_no_rate_and_its_view_says_so(visit: Visiting, cluster: Cluster) -> None:
    visiting = visit(cluster.url)
    page = visiting.open()
    serves(page, "ada", "bob")
    shard = opened(page, "ada")
    cells = page.get_by_role("row", name="ada").get_by_role("cell")
    keys = [key.decode() for key, _ in read_pairs(EXAMPLE)]  # of which either shard is the first owner of some

    def measured() -> bool:
        some_load(cluster.url, keys)
        return re.search("[1-9]", cells.nth(1).inner_text()) is not None

    wait_for(measured)
    cluster.shards["ada"].process.kill()
    expect(cells.first).to_have_text("lost")
    # Also in the seconds over which its rate was not nothing yet.
    for at in (1, 2, 3):
        expect(cells.nth(at)).to_have_text(NOTHING)
    expect(page.locator("#shard-state")).to_have_text("lost")
    expect(page.locator("#shard-rate")).to_have_text(NOTHING)
    expect(shard.get_by_role("list")).to_contain_text("ada is lost")
    expect(page.locator("#arcs [data-shard=bob]")).to_have_count(1)
    expect(page.locator("#ring .dimmed")).to_have_count(0)
    visiting.ends_well()


@pytest.mark.parametrize("stays", [True, False])
def test_the_focus_returns_also_where_the_legend_has_changed_meanwhile(
    visit: Visiting, cluster: Cluster, *, stays: bool
) -> None:
    visiting = visit(cluster.url)
    page = visiting.open()
    serves(page, "ada", "bob")
    in_ring = page.get_by_role("list", name="Shards on the ring").get_by_role("button", name="bob")
    in_ring.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog", name="bob")).to_be_visible()
    if stays:
        cluster.start("cleo")
        serves(page, "ada", "bob", "cleo")
    else:
        cluster.shards["bob"].process.kill()
        serves(page, "ada")
    page.keyboard.press("Escape")
    expect(in_ring if stays else page.get_by_role("table").get_by_role("button", name="bob")).to_be_focused()
    visiting.ends_well()


def test_the_focus_in_the_table_stays_at_its_shard_when_others_come_and_go(visit: Visiting, cluster: Cluster) -> None:
    visiting = visit(cluster.url)
    told: dict[str, int] = {"first": 0}

    def stats(route: Route) -> None:
        response = route.fetch()
        shards = response.json()["shards"]
        shards = [shards[-1] | {"name": "aaron", "address": "aaron:1"}] * told["first"] + shards
        route.fulfill(response=response, json=response.json() | {"shards": shards})

    visiting.page.route("**/stats", stats)
    page = visiting.open()
    serves(page, "ada", "bob")
    button = page.get_by_role("table").get_by_role("button", name="bob")
    button.focus()
    for first in (1, 0):
        told["first"] = first
        expect(page.get_by_role("row", name="aaron")).to_have_count(first)
        expect(button).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog", name="bob")).to_be_visible()
    visiting.ends_well()
