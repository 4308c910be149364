"""The page looks keys up: it draws their way, shows values as text, and says in the router's words what is no key."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import APIResponse, Route, expect

from tests.browser.page import KEY, Cluster, Visiting, ask, hold, look_up, serves, url_of, value
from tests.support.data import EXAMPLE, random_keys, read_pairs, write_pairs
from tests.support.processes import Spawner, wait_for

ABSENT = random_keys(1, seed=99)[0].decode()
"""Not in example.data."""

VALUES = {
    b"<script>window.hit = 1</script>": None,
    b"<img src=x onerror='window.hit = 1'><svg onload=window.hit=1></svg>": None,
    b"</pre></figure><h1>a heading</h1>&amp;&lt;": None,
    b"javascript:window.hit=1": None,
    b" two  spaces, a tab\tand \xe2\x80\xae the wrong way": None,
    "ä€𝄞\u200d".encode(): None,
    b"": None,
    b"\xff\xfe\\ and \x00\x1b[31m": "\\xff\\xfe\\\\ and \\x00\\x1b[31m",
    b"x" * 100_000: "x" * 32_768,
    # What is shown ends within a character.
    b"x" + "ä".encode() * 50_000: "x" + "ä" * 16_383,
}
"""Values, and how they are shown; None is: as they are."""


@pytest.fixture(scope="module")
def url(module_spawn: Spawner) -> str:
    return url_of(module_spawn.up(EXAMPLE))


@pytest.fixture(scope="module")
def keys_of_values(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[bytes, str]]:
    keys = random_keys(len(VALUES), seed=3)
    path = tmp_path_factory.mktemp("values") / "values.data"
    write_pairs(path, dict(zip(keys, VALUES, strict=True)))
    return path, {content: key.decode() for content, key in zip(VALUES, keys, strict=True)}


@pytest.fixture(scope="module")
def url_of_values(module_spawn: Spawner, keys_of_values: tuple[Path, dict[bytes, str]]) -> str:
    return url_of(module_spawn.up(keys_of_values[0], "--shards", "1"))


def test_a_key_is_looked_up_and_its_way_is_drawn(visit: Visiting, url: str) -> None:
    visiting = visit(url)
    page = visiting.open()
    expect(page.locator("#marker circle")).to_have_count(0)
    look_up(page, f" {KEY} ")
    expect(value(page)).to_have_text("1234")
    expect(page.locator("#result figcaption")).to_have_text("4 bytes")
    told = ask(url, f"explain/{KEY}")
    steps = page.locator(".way li")
    expect(steps).to_have_count(4)
    expect(steps.nth(0)).to_contain_text(KEY)
    expect(steps.nth(1)).to_contain_text(f"{100 * told['fraction']:.1f} % of the ring")
    expect(steps.nth(1)).to_contain_text(told["position"])
    expect(steps.nth(2)).to_contain_text(f"{told['partition']} of 256")
    expect(steps.nth(3)).to_contain_text(told["shard"])
    expect(page.locator("#marker circle")).to_have_count(1)
    expect(page.locator("#ring-way")).to_have_text(f"partition {told['partition']}, {told['shard']}")
    assert page.url == f"{url}/#{KEY}"
    visiting.ends_well()


def test_the_mark_points_at_the_arc_of_the_owner(visit: Visiting, url: str) -> None:
    visiting = visit(url)
    page = visiting.open(f"#{KEY}")
    expect(page.locator("#marker circle")).to_have_count(1)
    # What lies under the middle of the marked partition, of the band: the owner's path.
    owner = page.evaluate(
        """() => {
          const marked = document.querySelector("#marker .arc");
          const { x, y, width, height } = marked.getBoundingClientRect();
          document.getElementById("marker").remove();
          return document.elementFromPoint(x + width / 2, y + height / 2).dataset.shard;
        }"""
    )
    assert owner == ask(url, f"explain/{KEY}")["shard"]
    visiting.ends_well()


def test_a_link_leads_to_a_key_and_back(visit: Visiting, url: str) -> None:
    visiting = visit(url)
    page = visiting.open(f"#{KEY.upper()}")
    expect(value(page)).to_have_text("1234")
    expect(page.get_by_label("Key, a UUID version 4")).to_have_value(KEY.upper())
    other = next(key for key, _ in read_pairs(EXAMPLE) if key.decode() != KEY).decode()
    look_up(page, other)
    expect(page.locator(".way li").first).to_contain_text(other)
    page.go_back()
    expect(value(page)).to_have_text("1234")
    look_up(page, "")
    expect(page.locator("#result")).to_be_empty()
    expect(page.locator("#marker circle")).to_have_count(0)
    visiting.ends_well()


@pytest.mark.parametrize(
    ("key", "status", "words"),
    [
        (ABSENT, 404, "404 no such key in the dataset"),
        ("ring", 400, "400 not a UUID version 4: 'ring' (want xxxxxxxx-xxxx-4xxx-[89ab]xxx-xxxxxxxxxxxx)"),
        ("<b>/?#%", 400, "400 not a UUID version 4: '<b>/?#%' (want xxxxxxxx-xxxx-4xxx-[89ab]xxx-xxxxxxxxxxxx)"),
        (KEY[:-1], 400, "400 not a UUID version 4"),
        (".", 400, "400 not a UUID version 4: '."),
        ("..", 400, "400 not a UUID version 4: '.."),
    ],
)
def test_what_is_no_key_of_the_dataset_is_said_in_the_routers_words(
    visit: Visiting, url: str, key: str, status: int, words: str
) -> None:
    visiting = visit(url)
    page = visiting.open()
    look_up(page, key)
    expect(page.locator(".refusal")).to_contain_text(words)
    expect(page.locator("pre")).to_have_count(0)
    expect(page.locator("#marker circle")).to_have_count(1 if status == 404 else 0)
    visiting.ends_well(but=rf"status of {status} ")


def test_a_key_given_before_the_router_has_told_how_it_is_is_not_forgotten(visit: Visiting, url: str) -> None:
    visiting = visit(url)
    held = hold(visiting.page, "**/stats")
    page = visiting.open()
    look_up(page, KEY)
    expect(page).to_have_url(f"{url}/#{KEY}")
    wait_for(lambda: page.evaluate("1") == len(held), "the page does not ask how the router is")
    held[0].continue_()
    expect(value(page)).to_have_text("1234")
    expect(page.get_by_label("Key, a UUID version 4")).to_have_value(KEY)
    rows = page.locator("#shards tr").all()
    assert [row.get_attribute("class") for row in rows] == [f"shard-{place}" for place in range(len(rows))]
    visiting.ends_well()


def test_a_key_cannot_be_given_before_the_page_can_take_it(visit: Visiting, url: str) -> None:
    visiting = visit(url)
    held = hold(visiting.page, "**/page/page.js")
    visiting.page.goto(url, wait_until="commit")
    page = visiting.page
    button = page.get_by_role("button", name="Look up")
    expect(button).to_be_disabled()
    page.get_by_label("Key, a UUID version 4").fill(KEY)
    page.keyboard.press("Enter")
    wait_for(lambda: page.evaluate("1") == len(held), "the page does not ask for its script")
    held[0].continue_()
    expect(button).to_be_enabled()
    assert page.url == f"{url}/"
    button.click()
    expect(value(page)).to_have_text("1234")
    visiting.ends_well()


def test_what_is_known_of_one_key_is_not_shown_as_the_answer_about_another(visit: Visiting, url: str) -> None:
    visiting = visit(url)
    page = visiting.open(f"#{KEY}")
    expect(value(page)).to_have_text("1234")
    held = hold(page, f"**/explain/{ABSENT}")
    look_up(page, ABSENT)
    expect(page.locator("#result")).to_have_text("Asking the router …")
    expect(page.locator("#marker circle")).to_have_count(0)
    held[0].continue_()
    expect(page.locator(".refusal")).to_contain_text("404 no such key in the dataset")
    visiting.ends_well(but="status of 404 ")


def test_a_key_whose_answer_never_comes_is_asked_for_again(visit: Visiting, url: str) -> None:
    visiting = visit(url)
    page = visiting.open()
    hold(page, f"{url}/{KEY}")
    look_up(page, KEY)
    expect(value(page)).to_have_text("1234")
    assert visiting.asked_for(f"/{KEY}") == 2
    visiting.ends_well()


def test_a_router_without_shards_says_so(visit: Visiting, spawn: Spawner) -> None:
    router = spawn("router", "--shards", "unix:/nowhere/at/all", "--listen", "127.0.0.1:0")
    port = router.wait_for_line(r"router listens on 127\.0\.0\.1:(\d+)")[1]
    visiting = visit(f"http://127.0.0.1:{port}")
    page = visiting.open(f"#{KEY}")
    expect(page.locator(".refusal")).to_have_text("503 there is no ring yet: no shard could be reached")
    expect(page.locator("#connection")).to_have_text("No shard yet")
    expect(page.get_by_role("row", name="not there yet")).to_contain_text("lost")
    visiting.ends_well(but="status of 503 ")


def test_where_keys_are_not_answered_a_value_that_is_there_is_not_said_to_be_missing(
    visit: Visiting, spawn: Spawner
) -> None:
    shard = spawn.shard(EXAMPLE)
    listen = ("--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0")
    router = spawn("router", "--shards", str(shard.address), *listen)
    visiting = visit(f"http://{router.wait_for_line(r'router tells operators on (.*)')[1]}")
    page = visiting.open(f"#{KEY}")
    result = page.locator("#result > p")
    expect(result).to_have_text("The dataset has it: 4 bytes, which are told where keys are answered, and not here.")
    look_up(page, ABSENT)
    expect(result).to_have_text("The dataset does not have it.")
    visiting.ends_well(but="status of 404 ")


@pytest.mark.parametrize("content", VALUES, ids=lambda content: repr(content[:20]))
def test_a_value_is_text_whatever_it_is(
    visit: Visiting, url_of_values: str, keys_of_values: tuple[Path, dict[bytes, str]], content: bytes
) -> None:
    visiting = visit(url_of_values)
    page = visiting.open(f"#{keys_of_values[1][content]}")
    shown = VALUES[content]
    expect(value(page)).to_have_count(1)
    assert value(page).text_content() == (content.decode() if shown is None else shown)
    notes = page.locator("#result figcaption").inner_text().split("; ")
    assert notes[0] == f"{len(content):,} bytes"
    assert ("the first 32,768 are shown" in notes) == (len(content) > 32_768)
    assert ("not UTF-8: what is not ASCII is shown as \\xNN" in notes) == (b"\xff" in content)
    assert page.evaluate("[window.hit, document.scripts.length, document.querySelectorAll('h1').length]") == [
        None,
        1,
        1,
    ]
    assert page.locator("pre > *").count() == 0
    visiting.ends_well()


@pytest.mark.parametrize("replicas", ["1", "2"])
def test_the_way_of_a_key_follows_the_ring(visit: Visiting, spawn: Spawner, replicas: str) -> None:
    cluster = Cluster(spawn, "--replicas", replicas)
    visiting = visit(cluster.url)
    page = visiting.open(f"#{KEY}")
    serves(page, "ada", "bob")
    way = page.locator(".way li")
    expect(way.nth(3)).to_contain_text(first := ask(cluster.url, f"explain/{KEY}")["shard"])
    cluster.shards[first].process.kill()
    other = "bob" if first == "ada" else "ada"
    serves(page, other)
    # Nobody has asked again.
    expect(way.nth(3).locator("b")).to_have_text(other)
    expect(page.locator("#ring-way")).to_have_text(re.compile(f"^partition [0-9]+, {other}$"))
    expect(page.locator("#ring .old, .way.old")).to_have_count(0)
    expect(value(page)).to_have_text("1234")
    visiting.ends_well()


def test_the_way_of_a_key_whose_value_comes_after_the_ring_has_changed_is_that_of_the_new_ring(
    visit: Visiting, spawn: Spawner
) -> None:
    cluster = Cluster(spawn)
    visiting = visit(cluster.url)
    page = visiting.open()
    serves(page, "ada", "bob")
    held = hold(page, f"{cluster.url}/{KEY}")
    look_up(page, KEY)
    wait_for(lambda: page.evaluate("1") == len(held), "the page does not ask for the value")
    first = ask(cluster.url, f"explain/{KEY}")["shard"]
    cluster.shards[first].process.kill()
    other = "bob" if first == "ada" else "ada"
    serves(page, other)
    held[0].continue_()
    expect(value(page)).to_have_text("1234")
    expect(page.locator(".way li").nth(3).locator("b")).to_have_text(other)
    expect(page.locator("#ring-way")).to_have_text(re.compile(f"^partition [0-9]+, {other}$"))
    expect(page.locator("#ring .old, .way.old")).to_have_count(0)
    visiting.ends_well()


def test_of_two_changes_of_the_ring_the_way_shows_the_later_one(visit: Visiting, spawn: Spawner) -> None:
    cluster = Cluster(spawn)
    visiting = visit(cluster.url)
    page = visiting.open(f"#{KEY}")
    serves(page, "ada", "bob")
    expect(page.locator(".way li")).to_have_count(4)
    held: list[tuple[Route, APIResponse]] = []
    page.route("**/explain/*", lambda route: held.append((route, route.fetch())))
    cluster.start("cleo")
    serves(page, "ada", "bob", "cleo")
    wait_for(lambda: page.evaluate("1") == len(held), "the page does not ask for the way again")
    owner = ask(cluster.url, f"explain/{KEY}")["shard"]
    cluster.shards[owner].process.kill()
    serves(page, *sorted({"ada", "bob", "cleo"} - {owner}))
    wait_for(lambda: page.evaluate("2") == len(held), "the page does not ask for the way once more")
    for route, answered in held:
        route.fulfill(response=answered)
    last = ask(cluster.url, f"explain/{KEY}")["shard"]
    expect(page.locator(".way li").nth(3).locator("b")).to_have_text(last)
    expect(page.locator("#ring .old, .way.old")).to_have_count(0)
    visiting.ends_well()


def test_a_way_that_cannot_be_asked_for_again_is_marked_as_old(visit: Visiting, spawn: Spawner) -> None:
    cluster = Cluster(spawn)
    visiting = visit(cluster.url)
    page = visiting.open(f"#{KEY}")
    serves(page, "ada", "bob")
    expect(page.locator(".way li")).to_have_count(4)
    before = cluster.layout()["epoch"]
    page.route("**/explain/*", lambda route: route.abort())
    cluster.start("cleo")
    serves(page, "ada", "bob", "cleo")
    expect(page.get_by_role("list", name="The key's way before the ring changed")).to_have_count(1)
    expect(page.locator("#ring-way")).to_have_text(re.compile(f", (ada|bob) at epoch {before}$"))
    expect(page.locator("#marker")).to_have_class("old")
    page.unroute("**/explain/*")
    look_up(page, KEY)
    wait_for(lambda: page.locator(".old").count() == 0)
    visiting.ends_well(but="ERR_FAILED")


def test_a_key_that_could_not_be_answered_for_is_asked_for_again(visit: Visiting, spawn: Spawner) -> None:
    cluster = Cluster(spawn)
    for name in ("ada", "bob"):
        cluster.shards[name].process.kill()
    wait_for(lambda: not cluster.serving())
    visiting = visit(cluster.url)
    page = visiting.open(f"#{KEY}")
    expect(page.locator(".refusal")).to_contain_text("503")
    cluster.start("cleo")
    expect(value(page)).to_have_text("1234")
    expect(page.locator(".way li")).to_have_count(4)
    visiting.ends_well(but="503")
