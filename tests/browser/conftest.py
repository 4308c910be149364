"""A browser for the tests of one file, and visits that must end well."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from tests.support.browser import Visit, chromium
from tests.support.processes import PATIENCE

expect.set_options(timeout=1000 * PATIENCE)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Visit]]:
    """Makes visits; ends those that a test has left open."""
    visits: list[Visit] = []

    def visiting(url: str, **context: Any) -> Visit:
        visits.append(Visit(browser, url, **context))
        return visits[-1]

    yield visiting
    for visit in visits:
        visit.context.close()
