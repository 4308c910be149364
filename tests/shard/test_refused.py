"""Blocks that are refused: what the disk could not read for a while is served again, and what is wrong is not."""

import errno
import os
from pathlib import Path

import hiredis
import pytest

import ringkv.shard.refused
from ringkv.dataset.segment import Segment
from tests.support.damage import flip_value_byte
from tests.support.data import random_keys
from tests.support.packed import pack_pairs
from tests.support.processes import eventually
from tests.support.served import in_block, serving

PAIRS = {key: b"%b is the value" % key for key in random_keys(4_000, seed=75)}


class Disk:
    """One that can be away; nothing of it is in memory."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.away = False
        self.reads = 0
        read = Segment.read

        def look(segment: Segment, offset: int, size: int) -> bytes:
            self.reads += 1
            if self.away:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return read(segment, offset, size)

        monkeypatch.setattr(Segment, "read", look)
        monkeypatch.setattr(Segment, "read_now", lambda *_where: None)


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    return pack_pairs(tmp_path, PAIRS)


@pytest.mark.parametrize("ahead", [0, 1 << 30])
async def test_what_could_not_be_read_for_a_while_is_served_again(
    packed: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, ahead: int
) -> None:
    monkeypatch.setattr(ringkv.shard.refused, "RETRY_SECONDS", 0.0)
    disk = Disk(monkeypatch)
    disk.away = True
    async with serving(packed, ahead) as served:
        client, corrupt = await served.connect(), served.store.blocks.corrupt
        asked = [keys[0] for keys in in_block(served.store, PAIRS).values()]
        if ahead:
            await eventually(lambda: len(corrupt) == len(asked))
        for _ in range(2):
            for key in asked:
                reply = await client("GET", key)
                assert isinstance(reply, hiredis.ReplyError)
                assert "is corrupt: cannot be read: Input/output error" in str(reply)
        assert len(corrupt) == caplog.text.count("cannot be read") == len(asked)
        disk.away = False
        assert [await client("GET", key) for key in asked] == [PAIRS[key] for key in asked]
        assert corrupt == {}
        assert await client("MGET", *PAIRS) == list(PAIRS.values())


async def test_until_it_is_tried_again_the_disk_is_not_asked(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(monkeypatch)
    disk.away = True
    async with serving(packed) as served:
        client, key = await served.connect(), next(iter(PAIRS))
        for _ in range(5):
            assert isinstance(await client("GET", key), hiredis.ReplyError)
        assert disk.reads == 1


async def test_a_block_that_is_wrong_is_not_read_again(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ringkv.shard.refused, "RETRY_SECONDS", 0.0)
    flip_value_byte(packed, 7)
    disk = Disk(monkeypatch)
    async with serving(packed) as served:
        client, key = await served.connect(), in_block(served.store, PAIRS)[7][0]
        for _ in range(5):
            assert isinstance(await client("GET", key), hiredis.ReplyError)
        assert disk.reads == 1
