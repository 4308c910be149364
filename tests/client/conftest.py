"""What the tests of the client share: a server, and both commands as real processes."""

from collections.abc import Iterator

import pytest

from tests.client.command import PROGRAMS, Command
from tests.client.stub import Router, running


@pytest.fixture
def router() -> Iterator[Router]:
    with running(Router("127.0.0.1")) as started:
        yield started


@pytest.fixture(params=PROGRAMS)
def get(request: pytest.FixtureRequest, router: Router) -> Command:
    return Command(request.param, router.url)
