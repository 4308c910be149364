"""The page shows which keys are asked for most, and who answers them."""

import re
import urllib.request

from playwright.sync_api import Route, expect

from tests.browser.page import KEY, Visiting, ask, url_of
from tests.support.data import EXAMPLE
from tests.support.processes import Spawner


def test_a_key_in_the_news_is_shown_with_who_answers_it(visit: Visiting, spawn: Spawner) -> None:
    url = url_of(spawn.up(EXAMPLE, "--shards", "2"))
    visiting = visit(url)
    page = visiting.open()
    table = page.get_by_role("table", name="Hot keys")
    expect(page.locator("#hot-hits")).to_have_text("No key is asked for again and again.")
    expect(table).not_to_be_visible()
    while not any(key["kept"] for key in ask(url, "hot")["keys"]):
        with urllib.request.urlopen(f"{url}/{KEY}", timeout=20) as response:
            assert response.read() == b"1234"
    row = table.get_by_role("row", name=KEY)
    expect(row.get_by_role("cell")).to_have_text([re.compile(r"^[\d.]+$"), "the router"])
    expect(page.locator("#hot-hits")).to_contain_text("The router keeps 1 value at hand")
    visiting.ends_well()


def test_partitions_with_extra_owners_are_named(visit: Visiting, spawn: Spawner) -> None:
    visiting = visit(url_of(spawn.up(EXAMPLE, "--shards", "2")))
    page = visiting.open()
    named = page.locator("#hot-partitions")
    expect(named).to_be_empty()

    def hot(route: Route) -> None:
        response = route.fetch()
        route.fulfill(response=response, json=response.json() | {"extra_owners": {"1017": ["shard-2"]}})

    page.route("**/stats", hot)
    expect(named).to_have_text("Partition 1,017 is hot, and also owned by shard-2.")
    page.unroute_all(behavior="wait")
    expect(named).to_be_empty()
    visiting.ends_well()
