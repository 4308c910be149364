"""The page at `/` in a real browser: it looks keys up, shows values as text, and is for everybody's eyes and hands."""

import json
import re
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from router.durations import BOUNDS, Durations
from tests.support.browser import Visit
from tests.support.data import EXAMPLE, random_keys, read_pairs, write_pairs
from tests.support.processes import SpawnedCluster, Spawner, wait_for

KEY = "f8a24bb8-eff8-41dc-929b-10b4c3e49e05"
ABSENT = random_keys(1, seed=99)[0].decode()
"""In example.data, and not."""

Visiting = Callable[..., Visit]

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
    expect(page.locator("figcaption")).to_have_text("4 bytes")
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


def test_a_router_without_shards_says_so(visit: Visiting, spawn: Spawner) -> None:
    router = spawn("router", "--shards", "unix:/nowhere/at/all", "--listen", "127.0.0.1:0")
    port = router.wait_for_line(r"router listens on \('127.0.0.1', (\d+)\)")[1]
    visiting = visit(f"http://127.0.0.1:{port}")
    page = visiting.open(f"#{KEY}")
    expect(page.locator(".refusal")).to_have_text("503 there is no ring yet: no shard could be reached")
    expect(page.locator("#connection")).to_have_text("No shard yet")
    expect(page.get_by_role("row", name="not there yet")).to_contain_text("lost")
    visiting.ends_well(but="status of 503 ")


@pytest.mark.parametrize("content", VALUES, ids=lambda content: repr(content[:20]))
def test_a_value_is_text_whatever_it_is(
    visit: Visiting, url_of_values: str, keys_of_values: tuple[Path, dict[bytes, str]], content: bytes
) -> None:
    visiting = visit(url_of_values)
    page = visiting.open(f"#{keys_of_values[1][content]}")
    shown = VALUES[content]
    expect(value(page)).to_have_count(1)
    assert value(page).text_content() == (content.decode() if shown is None else shown)
    notes = page.locator("figcaption").inner_text().split("; ")
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


def test_the_policy_holds_in_the_browser(visit: Visiting, url: str) -> None:
    visiting = visit(url)
    page = visiting.open()
    expect(page.locator("#connection")).to_have_text("Live")
    page.evaluate(
        """async () => {
          for (const text of ["window.hit = 1", ""]) {
            const script = document.createElement("script");
            if (text) script.textContent = text; else script.src = "http://127.0.0.1:1/x.js";
            document.head.append(script);
          }
          await fetch("http://127.0.0.1:1/").catch(() => {});
        }"""
    )
    assert page.evaluate("window.hit") is None
    wait_for(lambda: len(visiting.problems) >= 3)
    assert all("Content Security Policy" in problem for problem in visiting.problems)


def test_the_load_is_shown_while_it_lasts(visit: Visiting, url: str) -> None:
    visiting = visit(url)
    page = visiting.open()
    expect(page.locator("#chart .line")).to_have_count(1)
    keys = [key.decode() for key, _ in read_pairs(EXAMPLE)][:60]

    def measured() -> bool:
        for key in keys:
            with urllib.request.urlopen(f"{url}/{key}", timeout=20) as response:
                response.read()
        return re.search("[1-9]", page.locator("#rate").inner_text()) is not None

    wait_for(measured)
    expect(page.locator("#p50")).to_have_text(re.compile(r"^[\d.]+ (µs|ms|s)$"))
    expect(page.locator("#p99")).to_have_text(re.compile(r"^[\d.]+ (µs|ms|s)$"))
    expect(page.locator("#errors")).to_have_text("0")
    for name in ("shard-1", "shard-2", "shard-3"):
        cells = page.get_by_role("row", name=name).get_by_role("cell")
        expect(cells.nth(1)).to_have_text(re.compile(r"^[\d.,]*[1-9]"))
        expect(cells.nth(2)).to_have_text(re.compile(r"^[\d.]+ (µs|ms|s)$"))
    expect(page.get_by_role("img", name=re.compile("^Lookups per second: .* now, at most "))).to_be_visible()
    visiting.ends_well()


def test_the_figures_of_the_cluster_are_shown(visit: Visiting, url: str) -> None:
    visiting = visit(url)
    page = visiting.open()
    stats, layout = ask(url, "stats"), ask(url, "ring/layout")
    expect(page.locator("#ring-keys")).to_have_text("10,000")
    expect(page.locator("#ring-epoch")).to_have_text(f"keys, epoch {stats['epoch']}")
    for text in (stats["dataset"][:12], "256 partitions", "1 replica", "1 worker", f"version {stats['version']}"):
        expect(page.locator("#about")).to_contain_text(text)
    for shard in stats["shards"]:
        row = page.get_by_role("row", name=shard["name"])
        for text in (f"{shard['keys']:,}", str(shard["partitions"]), shard["address"], "serving"):
            expect(row).to_contain_text(text)
    shares = "; ".join(f"{shard['name']} owns {shard['partitions']} of 256 partitions" for shard in stats["shards"])
    expect(page.get_by_role("img", name=f"The ring at epoch {layout['epoch']}: {shares}")).to_be_visible()
    expect(page.locator("#legend")).to_contain_text("shard-1")
    # The area of the whole band is drawn: as many pieces as there are arcs, and a tick for every point.
    drawn = page.locator("#arcs path").evaluate_all("paths => paths.map(path => path.getAttribute('d')).join('')")
    assert drawn.count("Z") == len(layout["arcs"])
    ticks = page.locator("#nodes path").evaluate_all("paths => paths.map(path => path.getAttribute('d')).join('')")
    assert ticks.count("M") == len(layout["points"]) == 3 * 512
    visiting.ends_well()


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


@pytest.mark.parametrize("width", [320, 360, 768, 880, 1024, 1600])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_every_width_and_both_schemes(visit: Visiting, url: str, width: int, scheme: str) -> None:
    visiting = visit(url, viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = visiting.open(f"#{KEY}")
    expect(value(page)).to_be_visible()
    expect(page.locator("#shards tr")).to_have_count(3)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    table = page.locator("#cluster")
    assert table.evaluate("section => section.scrollWidth - section.clientWidth") == 0
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (max(map(int, re.findall(r"\d+", ground))) < 64) == (scheme == "dark")
    assert page.get_by_role("table").get_by_role("row").count() >= 3
    visiting.ends_well()


def test_it_can_be_used_by_keyboard(visit: Visiting, url: str) -> None:
    visiting = visit(url)
    page = visiting.open()
    only = page.get_by_role("button", name="shard-2")
    only.focus()
    page.keyboard.press("Enter")
    expect(only).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#arcs .dimmed")).to_have_count(2)
    page.keyboard.press("Space")
    expect(page.locator("#ring .dimmed")).to_have_count(0)
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(page.get_by_label("Key, a UUID version 4")).to_be_focused()
    page.keyboard.type(KEY)
    page.keyboard.press("Enter")
    expect(value(page)).to_have_text("1234")
    visiting.ends_well()


def test_who_wants_no_motion_gets_none(visit: Visiting, url: str) -> None:
    visiting = visit(url, reduced_motion="reduce")
    page = visiting.open(f"#{KEY}")
    expect(value(page)).to_be_visible()
    assert page.evaluate("document.getAnimations().length") == 0
    visiting.ends_well()


def test_without_a_network_it_says_so_and_goes_on(visit: Visiting, url: str) -> None:
    visiting = visit(url)
    page = visiting.open()
    status = page.locator("#connection")
    expect(status).to_have_text("Live")
    visiting.context.set_offline(True)
    expect(status).to_have_text("The router cannot be reached; trying again")
    look_up(page, KEY)
    expect(page.locator(".refusal")).to_have_text("The router cannot be reached; try again in a moment.")
    visiting.context.set_offline(False)
    expect(status).to_have_text("Live")
    look_up(page, KEY)
    expect(value(page)).to_have_text("1234")
    visiting.ends_well(but="ERR_INTERNET_DISCONNECTED")


def test_a_hidden_page_asks_for_nothing(visit: Visiting, url: str) -> None:
    visiting = visit(url)
    visiting.page.clock.install()
    page = visiting.open()
    expect(page.locator("#connection")).to_have_text("Live")
    hide = "hidden => Object.defineProperty(document, 'hidden', { value: hidden, configurable: true })"
    page.evaluate(hide, arg=True)
    page.clock.run_for(2000)
    asked = visiting.asked_for("/stats")
    for _ in range(5):
        page.clock.run_for(2000)
    assert visiting.asked_for("/stats") == asked
    page.evaluate(hide, arg=False)
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    page.clock.run_for(100)
    wait_for(lambda: page.locator("#connection").inner_text() == "Live" and visiting.asked_for("/stats") > asked)
    visiting.ends_well()


def test_quantiles_are_those_that_the_router_would_make(visit: Visiting, url: str) -> None:
    visiting = visit(url)
    page = visiting.open()
    made = Durations()
    for step in range(2000):
        made.observe(0.00004 * 1.004**step)
    for share in (0.0, 0.01, 0.5, 0.9, 0.99, 1.0):
        quantile = page.evaluate(
            "async all => (await import('/page/figures.js')).quantile(...all)", [BOUNDS, made.counts, share]
        )
        assert quantile == pytest.approx(made.quantile(share))
    empty = "async all => (await import('/page/figures.js')).quantile(...all)"
    assert page.evaluate(empty, [BOUNDS, Durations().counts, 0.5]) is None
    began_anew = "async () => (await import('/page/figures.js')).growth(9, 3)"
    assert page.evaluate(began_anew) == 0
    visiting.ends_well()
