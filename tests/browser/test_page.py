"""The page at `/` in a real browser: its figures are the cluster's, and it is for everybody's eyes and hands."""

import re
import urllib.request

import pytest
from playwright.sync_api import Route, expect

from ringkv.router.lookup.durations import BOUNDS, Durations
from tests.browser.page import KEY, Visiting, ask, look_up, url_of, value
from tests.support.data import EXAMPLE, read_pairs
from tests.support.processes import Spawner, wait_for


@pytest.fixture(scope="module")
def url(module_spawn: Spawner) -> str:
    return url_of(module_spawn.up(EXAMPLE))


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
    expect(page.locator("#rate-chart .line")).to_have_count(1)
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
    assert drawn.count("Z") == len(layout["bands"][0])
    ticks = page.locator("#nodes path").evaluate_all("paths => paths.map(path => path.getAttribute('d')).join('')")
    assert ticks.count("M") == len(layout["points"]) == 3 * 512
    visiting.ends_well()


@pytest.mark.parametrize("width", [320, 360, 768, 880, 900, 1024, 1280, 1920])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_every_width_and_both_schemes(visit: Visiting, url: str, width: int, scheme: str) -> None:
    visiting = visit(url, viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = visiting.open(f"#{KEY}")
    expect(value(page)).to_be_visible()
    expect(page.locator("#shards tr")).to_have_count(3)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    table = page.locator("#cluster")
    assert table.evaluate("section => section.scrollWidth - section.clientWidth") == 0
    # Nothing is cut off, and no line of the head begins with what stands between two words.
    cut = page.locator("td[data-label=Address], #about li").evaluate_all(
        "all => all.filter(one => one.scrollWidth > one.clientWidth || getComputedStyle(one).textOverflow !== 'clip')"
        ".map(one => one.textContent)"
    )
    assert cut == []
    before = "all => all.map(one => getComputedStyle(one, '::before').content)"
    assert set(page.locator("#about > *").evaluate_all(before)) == {"none"}
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (max(map(int, re.findall(r"\d+", ground))) < 64) == (scheme == "dark")
    assert page.get_by_role("table").get_by_role("row").count() >= 3
    visiting.ends_well()


@pytest.mark.parametrize("width", [320, 900, 1280])
def test_names_of_shards_have_room_however_long_they_are(visit: Visiting, spawn: Spawner, width: int) -> None:
    name = "production-of-the-european-data-platform-ringkv-shard-statefulset-0"
    shard = spawn.shard(EXAMPLE, "--name", name)
    router = spawn("router", "--shards", str(shard.address), "--listen", "127.0.0.1:0")
    address = router.wait_for_line(r"router listens on (.*)")[1]
    visiting = visit(f"http://{address}", viewport={"width": width, "height": 800})
    page = visiting.open(f"#{KEY}")
    expect(value(page)).to_be_visible()
    expect(page.get_by_role("button", name=name)).to_have_count(2)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("#cluster").evaluate("section => section.scrollWidth - section.clientWidth") == 0
    assert page.locator(".way li:last-child small").evaluate("note => note.getBoundingClientRect().width") > 90
    # Inside of the lanes of virtual nodes, at the height of the third line.
    assert page.locator("#ring-way").evaluate("text => text.getBBox().width") < 2 * 168
    visiting.ends_well()


def test_it_can_be_used_by_keyboard(visit: Visiting, url: str) -> None:
    visiting = visit(url)
    page = visiting.open()
    in_ring = page.get_by_role("list", name="Shards on the ring").get_by_role("button", name="shard-3")
    in_ring.focus()
    page.keyboard.press("Enter")
    shard = page.get_by_role("dialog", name="shard-3")
    expect(shard).to_be_visible()
    expect(in_ring).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#arcs .dimmed")).to_have_count(2)
    expect(shard.get_by_role("button", name="Close")).to_be_focused()
    page.keyboard.press("Escape")
    expect(shard).to_be_hidden()
    expect(page.locator("#ring .dimmed")).to_have_count(0)
    expect(in_ring).to_be_focused()
    expect(in_ring).to_have_attribute("aria-pressed", "false")
    for name in ("5 min", "60 min"):
        page.keyboard.press("Tab")
        expect(page.get_by_role("button", name=name)).to_be_focused()
    for chart in ("Lookups per second", "Latency"):
        page.keyboard.press("Tab")
        expect(page.get_by_role("img", name=re.compile(f"^{chart}"))).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_label("Key, a UUID version 4")).to_be_focused()
    page.keyboard.type(KEY)
    page.keyboard.press("Enter")
    expect(value(page)).to_have_text("1234")
    in_table = page.get_by_role("table").get_by_role("button", name="shard-1")
    in_table.focus()
    page.keyboard.press("Space")
    expect(page.get_by_role("dialog", name="shard-1")).to_be_visible()
    page.keyboard.press("Enter")
    expect(in_table).to_be_focused()
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
    expect(page.locator(".refusal")).to_have_text("The router cannot be reached; asking again in a moment.")
    visiting.context.set_offline(False)
    expect(status).to_have_text("Live")
    expect(value(page)).to_have_text("1234")
    visiting.ends_well(but="ERR_INTERNET_DISCONNECTED")


@pytest.mark.parametrize("part", ["page.js", "svg.js"])
def test_a_part_of_the_script_that_did_not_come_is_asked_for_again(visit: Visiting, url: str, part: str) -> None:
    visiting = visit(url)
    page = visiting.page
    page.route(f"**/page/{part}", lambda route: route.abort("connectionrefused"), times=1)
    visiting.open(f"#{KEY}")
    expect(page.locator("#connection")).to_have_text("Live")
    expect(value(page)).to_have_text("1234")
    visiting.ends_well(but="ERR_CONNECTION_REFUSED|Failed to fetch dynamically imported module")


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


def test_a_page_that_was_hidden_shows_no_mean_of_the_time_meanwhile(visit: Visiting, url: str) -> None:
    visiting = visit(url)
    later = 0

    def stats(route: Route) -> None:
        response = route.fetch()
        told = response.json()
        counters = told["counters"] | {"requests": told["counters"]["requests"] + 77 * later}
        route.fulfill(response=response, json=told | {"uptime": told["uptime"] + later, "counters": counters})

    visiting.page.route("**/stats", stats)
    # Counts how often the page has begun to wait until it is seen again.
    visiting.page.add_init_script(
        """window.waits = 0;
        const add = document.addEventListener.bind(document);
        document.addEventListener = (kind, ...rest) => {
          window.waits += kind === "visibilitychange";
          add(kind, ...rest);
        };"""
    )
    page = visiting.open()
    expect(page.locator("#connection")).to_have_text("Live")
    hide = "hidden => Object.defineProperty(document, 'hidden', { value: hidden, configurable: true })"
    page.evaluate(hide, arg=True)
    wait_for(lambda: page.evaluate("window.waits"), "the hidden page asks on")
    later = 3600
    page.evaluate(hide, arg=False)
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(page.locator("#about")).to_contain_text("up 1 h")
    assert page.locator("#rate").inner_text() in {"\N{EN DASH}", "0"}
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
