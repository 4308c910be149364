"""A real browser for tests, Debian's Chromium without a window, and what it says of a page."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, sync_playwright

from tests.support.processes import PATIENCE


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser that ends with the block. Where there is none the test is skipped, and in CI it fails.

    While it runs, no asyncio loop can be started in this thread: Playwright has one of its own in it.
    """
    program = shutil.which("chromium")
    if program is None:
        reason = "chromium is not installed"
        if os.environ.get("CI") == "true":
            pytest.fail(f"{reason}, and CI must not skip its tests")
        pytest.skip(reason)
    # Root, as in a container, has no sandbox; what is opened here is the project's own page.
    sandbox = [] if os.getuid() else ["--no-sandbox"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--disable-gpu", *sandbox])
        try:
            yield browser
        finally:
            browser.close()


class Visit:
    """One page in a context of its own. `problems` are errors and warnings that it caused, `requests` all it asked."""

    def __init__(self, browser: Browser, url: str, **context: Any) -> None:
        self.context: BrowserContext = browser.new_context(**context)
        self.context.set_default_timeout(1000 * PATIENCE)
        self.url = url
        self.problems: list[str] = []
        self.requests: list[Request] = []
        self.page: Page = self.context.new_page()
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request))  # noqa: PLW0108 - it keeps a mark on it

    def open(self, fragment: str = "") -> Page:
        self.page.goto(f"{self.url}/{fragment}")
        return self.page

    def asked_for(self, path: str) -> int:
        """How often the page has asked for a path."""
        return sum(urlsplit(request.url).path == path for request in self.requests)

    def ends_well(self, *, but: str = r"(?!)") -> None:
        """End it. No error except those that match, no request to another host, no figure that went wrong."""
        hosts = {urlsplit(request.url).netloc for request in self.requests}
        drawn = self.page.content()
        self.context.close()
        problems = [problem for problem in self.problems if not re.search(but, problem)]
        assert not problems, problems
        assert hosts == {urlsplit(self.url).netloc}
        assert not re.search(r"\b(NaN|undefined|Infinity|\[object)", drawn)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.problems.append(f"{message.text} ({message.location.get('url', '')})")
