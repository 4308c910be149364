"""The page shows what was before it was opened: an hour of load, and the events."""

import json
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.page import Cluster, Visiting, ask, hold, serves, url_of
from tests.support.data import EXAMPLE
from tests.support.processes import Spawner, wait_for

NOW = int(time.time())


def sample(at: int, requests: float, **others: Any) -> dict[str, Any]:
    return {"at": at, "requests": requests, "errors": 0.0, "p50": 0.001, "p99": 0.02, "shards": {}} | others


def told(samples: list[dict[str, Any]]) -> Callable[[Route], None]:
    """Answers as the router with these samples."""

    def answer(route: Route) -> None:
        since = int(route.request.url.partition("since=")[2])
        new = [one for one in samples if one["at"] > since]
        route.fulfill(content_type="application/json", body=json.dumps({"interval": 5, "samples": new}))

    return answer


@pytest.fixture(scope="module")
def url(module_spawn: Spawner) -> str:
    return url_of(module_spawn.up(EXAMPLE, "--shards", "2"))


def opened(visiting: Any, samples: list[dict[str, Any]]) -> Page:
    visiting.page.route("**/history?*", told(samples))
    page: Page = visiting.open()
    expect(page.locator("#rate-chart .line").first).to_be_attached()
    return page


def test_what_was_before_is_there_as_soon_as_the_page_is_opened(visit: Visiting, spawn: Spawner) -> None:
    cluster = Cluster(spawn)
    first = visit(cluster.url)
    serves(first.open(), "ada", "bob")
    first.ends_well()
    cluster.shards["ada"].process.kill()
    second = visit(cluster.url)
    serves(second.open(), "bob")
    second.ends_well()
    # This one has seen none of that.
    visiting = visit(cluster.url)
    page = visiting.open()
    log = page.get_by_role("log")
    for text in (
        "the router has started",
        "ada takes part",
        "bob takes part",
        "ada is lost",
        "partitions change owner",
    ):
        expect(log).to_contain_text(text)
    kinds = page.locator("#events .kind").all_inner_texts()
    assert kinds == [event["kind"] for event in reversed(ask(cluster.url, "events")["events"])][: len(kinds)]
    expect(page.get_by_role("img", name=re.compile("^Lookups per second: .* now, at most "))).to_be_visible()
    expect(page.locator("#rate-chart .line")).to_have_count(1)
    visiting.ends_well()


def test_an_hour_is_drawn_and_the_last_minutes_where_they_are_chosen(visit: Visiting, url: str) -> None:
    visiting = visit(url)
    page = opened(visiting, [sample(NOW - 5 * ago, 5000.0 if ago > 600 else 100.0) for ago in range(719, -1, -1)])
    chart = page.locator("#rate-chart svg")
    expect(chart).to_contain_text("60 min ago")
    expect(chart).to_have_attribute("aria-label", re.compile("lookups/s 100 now, at most 5,000"))
    page.get_by_role("button", name="5 min").click()
    expect(chart).to_contain_text("5 min ago")
    expect(chart).to_have_attribute("aria-label", re.compile("lookups/s 100 now, at most 100"))
    visiting.ends_well()


def test_where_nothing_was_measured_the_line_has_a_gap_and_errors_are_drawn_where_there_are_any(
    visit: Visiting, url: str
) -> None:
    visiting = visit(url)
    times = [NOW - 5 * ago for ago in range(100, -1, -1) if not 40 < ago < 60]
    page = opened(visiting, [sample(at, 100.0) for at in times])
    expect(page.locator("#rate-chart .line.area")).to_have_count(2)
    expect(page.locator("#rate-chart .line.bad")).to_have_count(0)
    visiting.ends_well()
    failing = visit(url)
    page = opened(failing, [sample(at, 100.0, errors=7.0 if at == times[50] else 0.0) for at in times])
    expect(page.locator("#rate-chart .line.bad")).to_have_count(2)
    expect(page.locator("#rate-chart .keys")).to_contain_text("errors/s")
    expect(page.locator("#rate-chart svg")).to_have_attribute("aria-label", re.compile("errors/s 0 now, at most 7"))
    failing.ends_well()


def test_a_moment_can_be_pointed_at_by_mouse_and_by_keyboard(visit: Visiting, url: str) -> None:
    visiting = visit(url)
    noon = NOW - NOW % 86_400 + 43_200  # a moment of yesterday is told with its day
    visiting.page.clock.set_fixed_time(datetime.fromtimestamp(noon, UTC))
    page = opened(visiting, [sample(noon - 5 * ago, float(ago)) for ago in range(60, -1, -1)])
    chart, said = page.locator("#rate-chart svg"), page.locator("#rate-chart output")
    box = chart.bounding_box()
    assert box
    page.mouse.move(box["x"] + 3, box["y"] + 50)
    expect(said).to_have_text(re.compile(r"^\d\d:\d\d:\d\d  lookups/s (60|59), errors/s 0$"))
    page.get_by_role("heading", name="Look a key up").hover()
    expect(said).to_be_empty()
    chart.focus()
    for key, value in (("End", 0), ("ArrowLeft", 1), ("ArrowLeft", 2), ("ArrowRight", 1), ("Home", 60)):
        page.keyboard.press(key)
        expect(said).to_have_text(re.compile(f"  lookups/s {value}, errors/s 0$"))
        expect(page.locator("#rate-chart .pointer")).to_have_count(1)
    page.keyboard.press("Escape")
    expect(said).to_be_empty()
    visiting.ends_well()


def test_the_arrow_keys_go_on_over_a_restart_of_the_router(visit: Visiting, url: str) -> None:
    visiting = visit(url)
    uptime = 1000.0

    def stats(route: Route) -> None:
        response = route.fetch()
        route.fulfill(response=response, json=response.json() | {"uptime": uptime})

    visiting.page.route("**/stats", stats)
    samples = [sample(NOW - 5 * ago, float(ago)) for ago in range(20, 10, -1)]
    page = opened(visiting, samples)
    uptime = 1.0
    samples += [sample(NOW - 5 * ago, float(ago)) for ago in range(10, -1, -1)]
    chart, said = page.locator("#rate-chart svg"), page.locator("#rate-chart output")
    expect(chart).to_have_attribute("aria-label", re.compile("lookups/s 0 now"))
    expect(page.locator("#rate-chart .line.area")).to_have_count(2)
    chart.focus()
    page.keyboard.press("Home")
    for value in range(19, -1, -1):
        page.keyboard.press("ArrowRight")
        expect(said).to_have_text(re.compile(f"  lookups/s {value}, errors/s 0$"))
    visiting.ends_well()


def test_a_clock_of_the_router_that_is_set_back_stops_no_chart(visit: Visiting, url: str) -> None:
    visiting = visit(url)
    samples = [sample(NOW - 5 * ago, 100.0) for ago in range(20, -1, -1)]
    page = opened(visiting, samples)
    chart = page.locator("#rate-chart svg")
    expect(chart).to_have_attribute("aria-label", re.compile("lookups/s 100 now"))
    visiting.page.unroute("**/history?*")
    samples = [sample(NOW - 7200 - 5 * ago, 7.0) for ago in range(3, -1, -1)]
    visiting.page.route(
        "**/history?*",
        lambda route: route.fulfill(
            content_type="application/json", body=json.dumps({"interval": 5, "samples": samples})
        ),
    )
    expect(chart).to_have_attribute("aria-label", re.compile("lookups/s 7 now, at most 7"))
    visiting.ends_well()


def test_a_window_that_changes_before_there_are_samples_has_no_wrong_figures(visit: Visiting, url: str) -> None:
    visiting = visit(url)
    held = hold(visiting.page, "**/history?*")
    page = visiting.open()
    wait_for(lambda: page.evaluate("1") == len(held), "the page does not ask for samples")
    page.set_viewport_size({"width": 700, "height": 800})
    page.evaluate("() => new Promise(requestAnimationFrame)")
    drawn = page.locator("#rate-chart").inner_text()
    held[0].continue_()
    expect(page.locator("#rate-chart .line").first).to_be_attached()
    assert "NaN" not in drawn
    visiting.ends_well()


def test_many_events_are_shown_when_they_are_asked_for(visit: Visiting, url: str) -> None:
    events = [
        {
            "at": f"2026-01-02T03:04:{at:02}.000Z",
            "kind": "loss",
            "shard": "a<b>",
            "text": f"<b>{at}</b>",
            "worker": f"w{at % 2}",
        }
        for at in range(30)
    ]
    visiting = visit(url)
    visiting.page.route(
        "**/events", lambda route: route.fulfill(content_type="application/json", body=json.dumps({"events": events}))
    )
    page = visiting.open()
    log = page.get_by_role("log")
    expect(log.get_by_role("listitem")).to_have_count(8)
    expect(log.get_by_role("listitem").first).to_contain_text("<b>29</b> w1")
    page.get_by_role("button", name="Show all 30").click()
    expect(log.get_by_role("listitem")).to_have_count(30)
    expect(log.get_by_role("listitem").last).to_contain_text("<b>0</b> w0")
    page.get_by_role("button", name="Show the latest 8").click()
    expect(log.get_by_role("listitem")).to_have_count(8)
    visiting.ends_well()
