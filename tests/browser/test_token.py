"""The page and a router that wants a token: it is asked for, kept for the tab alone, and said in a header."""

import urllib.request
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.page import KEY, Visiting, hold, url_of, value
from tests.support.data import EXAMPLE
from tests.support.processes import Spawner, wait_for


@pytest.fixture(scope="module")
def url(module_spawn: Spawner, tmp_path_factory: pytest.TempPathFactory) -> str:
    tokens: Path = tmp_path_factory.mktemp("tokens") / "tokens"
    tokens.write_text("the-token==\n")
    return url_of(module_spawn.up(EXAMPLE, "--read-token-file", str(tokens)))


def tell(page: Page, token: str) -> None:
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Use this token").click()


def make_hot(url: str) -> None:
    """Ask for the key until it is among those that are asked for most."""

    def read(path: str) -> bytes:
        request = urllib.request.Request(f"{url}/{path}", headers={"Authorization": "Bearer the-token=="})
        with urllib.request.urlopen(request, timeout=20) as response:
            return bytes(response.read())

    while KEY.encode() not in read("hot"):
        assert read(KEY) == b"1234"


def test_a_token_is_asked_for_and_kept_for_the_tab(visit: Visiting, url: str) -> None:
    visiting = visit(url)
    page = visiting.open(f"#{KEY}")
    expect(page.locator(".refusal")).to_contain_text("401 a token is needed")
    tell(page, "another")
    expect(page.locator(".refusal")).to_contain_text("401 not a token that counts here")
    tell(page, "no token")
    assert page.locator("#token:invalid").count() == 1
    tell(page, "the-token==")
    expect(value(page)).to_have_text("1234")
    expect(page.locator("#token")).to_have_count(0)
    page.reload()
    expect(value(page)).to_have_text("1234")
    assert page.evaluate("[localStorage.length, document.cookie, sessionStorage.length]") == [0, "", 1]
    assert all("the-token" not in request.url for request in visiting.requests)
    visiting.ends_well(but="status of 401 ")


def test_another_tab_does_not_know_it(visit: Visiting, url: str) -> None:
    visiting = visit(url)
    page = visiting.open(f"#{KEY}")
    tell(page, "the-token==")
    expect(value(page)).to_have_text("1234")
    other = visiting.context.new_page()
    other.goto(f"{url}/#{KEY}")
    expect(other.locator(".refusal")).to_contain_text("401 a token is needed")
    visiting.ends_well(but="status of 401 ")


def test_a_token_that_is_told_while_the_one_before_is_refused_shows_the_hot_keys(visit: Visiting, url: str) -> None:
    make_hot(url)
    visiting = visit(url)
    page = visiting.open(f"#{KEY}")
    expect(page.locator(".refusal")).to_contain_text("401 a token is needed")
    held = hold(page, "**/hot")
    tell(page, "another")
    expect(page.locator(".refusal")).to_contain_text("401 not a token that counts here")
    wait_for(lambda: page.evaluate("1") == len(held), "the page does not ask for the hot keys")
    tell(page, "the-token==")
    held[0].continue_()
    expect(value(page)).to_have_text("1234")
    expect(page.get_by_role("table", name="Hot keys").get_by_role("row", name=KEY)).to_be_visible()
    visiting.ends_well(but="status of 401 ")


def test_a_token_that_does_not_count_any_more_leaves_no_hot_keys_behind(visit: Visiting, url: str) -> None:
    make_hot(url)
    visiting = visit(url)
    page = visiting.open(f"#{KEY}")
    tell(page, "the-token==")
    table = page.get_by_role("table", name="Hot keys")
    expect(table.get_by_role("row", name=KEY)).to_be_visible()
    page.route("**/hot", lambda route: route.fulfill(status=401, body="not a token that counts here\n"))
    expect(table).to_be_hidden()
    visiting.ends_well(but="status of 401 ")
