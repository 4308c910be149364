"""A catalog behind a web server that can fail in every way, and how a shard is told of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import ringkv.shard.hydration
import ringkv.shard.reads
from ringkv.shard.settings import Followed
from tests.support.published import Published
from tests.support.web import Web, web


@pytest.fixture
def remote(published: Published) -> Iterator[Web]:
    with web(published.path) as served:
        yield served


@pytest.fixture
def source(remote: Web, tmp_path: Path) -> Followed:
    return Followed(remote.url, tmp_path / "cache")


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards warm up again soon after the store has failed."""
    monkeypatch.setattr(ringkv.shard.hydration, "MAX_PAUSE", 0.1)


@contextmanager
def impatient() -> Iterator[None]:
    """Only around what is to fail: on a busy machine what succeeds may take longer."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ringkv.shard.reads, "FETCH_SECONDS", 0.3)
        yield
