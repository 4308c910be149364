"""The page shows which version of the data is served since when, and what becomes of the next one, shard by shard."""

import re
import shutil
from pathlib import Path

from playwright.sync_api import expect

from tests.browser.page import Cluster, Visiting
from tests.support.processes import Spawner
from tests.support.published import Published
from tests.support.versioned import Versioned


def test_it_shows_the_version_that_is_served_and_who_holds_the_next_one_up(
    visit: Visiting, spawn: Spawner, tmp_path: Path
) -> None:
    published = Published(tmp_path / "ada")
    published.put(2)
    published.publish(1)
    shutil.copytree(published.path, tmp_path / "bob")
    other = Published(tmp_path / "bob")
    other.datasets = published.datasets
    cluster = Versioned(spawn, {"ada": published.path, "bob": other.path})
    visiting = visit(cluster.url)
    page = visiting.open()
    version = page.get_by_label("Version of the data")
    expect(version).to_contain_text(re.compile(r"Version 1, published by a tester@here, .*, is served since [\d:]+\."))
    expect(page.get_by_label("Waited for")).not_to_be_visible()

    published.swap(2)
    expect(version).to_contain_text(re.compile(r"Version 2, published by a tester@here, .*, waits for 1 shard:"))
    expect(page.get_by_label("Waited for").get_by_role("listitem")).to_have_text(["bob offers version 1 yet"])
    expect(version).to_contain_text("Version 1, ")

    other.swap(2)
    expect(version).to_contain_text("Version 2, published by a tester@here, ")
    expect(page.get_by_label("Waited for")).not_to_be_visible()
    expect(page.get_by_role("log")).to_contain_text("version 2")
    visiting.ends_well()


def test_of_shards_without_a_catalog_nothing_is_said_of_versions(visit: Visiting, spawn: Spawner) -> None:
    visiting = visit(Cluster(spawn).url)
    page = visiting.open()
    expect(page.locator("#connection")).to_have_text("Live")
    expect(page.get_by_label("Version of the data")).not_to_be_visible()
    visiting.ends_well()
