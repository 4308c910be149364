"""A catalog behind a web server that can fail in every way, and how a shard is told of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import ringkv.shard.hydration
import ringkv.shard.reads
from ringkv.shard.settings import Followed
from tests.support.published import Published
from tests.support.web import Web, web


@pytest.fixture
def published(tmp_path: Path) -> Published:
    made = Published(tmp_path / "catalog")
    made.publish(1)
    return made


@pytest.fixture
def remote(published: Published) -> Iterator[Web]:
    with web(published.path) as served:
        yield served


@pytest.fixture
def source(remote: Web, tmp_path: Path) -> Followed:
    return Followed(remote.url, tmp_path / "cache")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ringkv.shard.reads, "FETCH_SECONDS", 0.3)
    monkeypatch.setattr(ringkv.shard.hydration, "MAX_PAUSE", 0.1)
