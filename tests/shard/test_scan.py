"""Walking over a shard's keys: each one that is leased exactly once, wherever a page ends, and no more than that."""

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hiredis
import pytest

import ringkv.shard.store
from ringkv.cluster.cursor import CURSORS, behind, cell
from ringkv.cluster.limits import KEYS_LIMIT, SCAN_KEYS
from ringkv.cluster.position import position, shift_to, slot, slot_shift
from ringkv.cluster.ring import build_ring
from ringkv.shard.store import Store
from tests.support.damage import flip_value_byte
from tests.support.data import EXAMPLE, random_keys, write_pairs
from tests.support.packed import opened, pack_pairs
from tests.support.processes import SpawnedShard, Spawner
from tests.support.resp import Client, command

Connect = Callable[[SpawnedShard], Client]


def scan(client: Client, *options: str | int) -> list[bytes]:
    found: list[bytes] = []
    cursor = b"0"
    while True:
        cursor, keys = client("SCAN", cursor, *options)
        found += keys
        if cursor == b"0":
            return found


def told(reply: Any) -> str:
    assert isinstance(reply, hiredis.ReplyError), reply
    return str(reply)


def walk(store: Store, count: int) -> list[list[bytes]]:
    """All pages of a store that has everything leased."""
    pages = []
    cursor = -1
    while cursor:
        cursor, keys = store.keys_from(max(cursor, 0), count)
        pages.append(keys)
    return pages


@pytest.mark.parametrize("count", [1, 7, 5_000])
def test_pages_are_the_keys_in_the_order_of_the_ring(tmp_path: Path, count: int) -> None:
    keys = random_keys(3_000, seed=51)
    with opened(tmp_path, dict.fromkeys(keys, b"")) as store:
        pages = walk(store, count)
    assert [key for page in pages for key in page] == sorted(keys, key=position)
    assert max(map(len, pages)) <= count


def test_keys_of_one_cell_come_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of real positions so few share a cell that nobody finds two: here 4,096 cells hold all keys."""
    keys = random_keys(6_000, seed=52)

    def coarse(key: bytes) -> int:
        return position(key) >> 52 << 52

    monkeypatch.setattr(ringkv.shard.store, "position", coarse)
    with opened(tmp_path, dict.fromkeys(keys, b"")) as store:
        pages = [page for page in walk(store, 1) if page]
    assert [key for page in pages for key in page] == sorted(keys, key=position)
    assert [len({coarse(key) for key in page}) for page in pages] == [1] * len(pages)
    assert len(pages) == len({coarse(key) for key in keys})


def test_a_page_goes_on_from_any_place_on_the_ring(tmp_path: Path) -> None:
    keys = sorted(random_keys(2_000, seed=53), key=position)
    with opened(tmp_path, dict.fromkeys(keys, b"")) as store:
        for cursor in [0, 1, CURSORS - 1, *(cell(position(key)) + off for key in keys[:99] for off in (-1, 0, 1))]:
            border = store.next_partition(cursor)
            rest = [key for key in keys if cursor <= cell(position(key)) < (border or CURSORS)]
            after, page = store.keys_from(cursor, 3)
            assert page == rest[:3]
            assert after == (behind(position(page[2])) if len(rest) > 3 else border)


@pytest.mark.parametrize("size", [0, 1, 3])
def test_a_few_keys_are_found_among_empty_partitions(spawn: Spawner, connect: Connect, size: int) -> None:
    keys = random_keys(size, seed=54)
    client = connect(spawn.shard(write_pairs(spawn.directory() / "data", dict.fromkeys(keys, b"x"))))
    assert client("SCAN", 0) == [b"0", sorted(keys, key=position)]
    assert sorted(client("KEYS", "*")) == sorted(keys)
    assert client("RANDOMKEY") in {*keys, None}
    assert (client("RANDOMKEY") is None) == (size == 0)
    assert client("DBSIZE") == size


def test_a_shard_of_a_ring_tells_what_it_has_leased(
    spawn: Spawner, connect: Connect, example_pairs: dict[bytes, bytes]
) -> None:
    shard = spawn.shard(EXAMPLE, "--leased", "--name", "b")
    ring = build_ring(("a", "b", "c"), 1, 256)
    shift = slot_shift(256)
    mine = sorted((key for key in example_pairs if "b" in ring.owners[slot(key) >> shift]), key=position)
    router = connect(shard)
    client = connect(shard)
    assert client("SCAN", 0) == [b"0", []]
    assert client("RANDOMKEY") is None
    router.lease(client.info()["dataset_id"], ring)
    assert scan(client) == scan(client, "COUNT", 1000) == client("KEYS", "*") == mine
    assert {client("RANDOMKEY") for _ in range(20)} <= set(mine)
    other = next(key for key in example_pairs if key not in mine)
    assert told(client("KEYSFROM", cell(position(other)), 10)).startswith("NOTLEASED ")
    assert client("KEYSFROM", cell(position(mine[0])), 1)[1] == mine[:1]


def test_keysfrom_ends_at_the_border_of_the_block(
    example_shard: SpawnedShard, connect: Connect, example_pairs: dict[bytes, bytes]
) -> None:
    client = connect(example_shard)
    found, cursor = [], 0
    for block in range(256):
        cursor, keys = client("KEYSFROM", cursor, SCAN_KEYS)
        assert cursor == (block + 1) * (CURSORS // 256) % CURSORS
        found += keys
    assert found == sorted(example_pairs, key=position)
    for wrong in ((-1, 10), (CURSORS, 10), (0, 0), (0, SCAN_KEYS + 1), ("x", 10)):
        assert told(client("KEYSFROM", *wrong)).startswith("ERR ")


def test_keys_of_a_damaged_block_are_not_left_out_silently(
    spawn: Spawner, connect: Connect, example_pairs: dict[bytes, bytes]
) -> None:
    packed = pack_pairs(spawn.directory(), example_pairs)
    flip_value_byte(packed, 7)
    client = connect(spawn.shard(packed))
    shift = shift_to(256)
    before = [key for key in sorted(example_pairs, key=position) if position(key) >> shift < 7]
    assert told(client("KEYS", "*")).startswith("CORRUPT ")
    found, cursor = [], b"0"
    while not isinstance(page := client("SCAN", cursor, "COUNT", 100), hiredis.ReplyError):
        cursor = page[0]
        found += page[1]
    assert told(page).startswith(f"CORRUPT {packed}: block 7 ")
    assert found == before
    assert len(client("SCAN", 8 * (CURSORS // 256), "COUNT", 1000)[1]) == 1000


def test_keys_of_a_large_dataset_are_refused_with_the_way_to_get_them(
    spawn: Spawner, connect: Connect, generated: Callable[..., tuple[Path, Path]]
) -> None:
    data, packed = generated(KEYS_LIMIT + 1, value_size=1)
    client = connect(spawn.shard(packed))
    assert told(client("KEYS", "f8a2*")) == (
        "ERR KEYS looks at every key, and here are 100001, more than 100000: use SCAN with MATCH"
    )
    assert sorted(scan(client, "COUNT", 1000)) == sorted(line[:36] for line in data.read_bytes().splitlines())


def test_other_clients_are_answered_while_keys_are_told(
    spawn: Spawner, connect: Connect, generated: Callable[..., tuple[Path, Path]]
) -> None:
    shard = spawn.shard(generated(KEYS_LIMIT, value_size=1)[1])
    client, other = connect(shard), connect(shard)
    other("PING")
    client.send(command("KEYS", "*") + command("PING"))
    answered = 0
    client.socket.setblocking(False)
    while True:
        assert other("PING") == b"PONG"
        answered += 1
        try:
            client.socket.recv(1, socket.MSG_PEEK)
            break
        except BlockingIOError:
            continue
    client.socket.settimeout(30)
    assert answered > 20
    assert len(client.read()) == KEYS_LIMIT
    assert client.read() == b"PONG"
