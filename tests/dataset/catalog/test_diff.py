"""Two datasets differ in exactly the keys in which their pairs differ, whatever their blocks are."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ringkv.dataset.content import Content, opened, opened_in
from ringkv.dataset.diff import Difference, difference
from ringkv.dataset.objects import Objects
from ringkv.dataset.packing.local import pack
from ringkv.dataset.packing.memory import Budget
from tests.dataset.catalog.conftest import Publish

Pairs = Mapping[int, bytes]
Make = Callable[[Pairs], Content]


@pytest.fixture
def content(tmp_path: Path, data: Callable[..., Path]) -> Iterator[Make]:
    """Packs pairs, and opens their dataset."""
    with ExitStack() as stack:

        def make(pairs: Pairs) -> Content:
            target = tmp_path / f"{abs(hash(frozenset(pairs.items())))}"
            if not target.exists():
                pack(data(pairs), target, budget=Budget(1, 16 << 20))
            return stack.enter_context(opened(target))

        yield make


def sets(found: Difference) -> tuple[set[str], set[str], set[str]]:
    kinds = (found.added, found.removed, found.changed)
    assert all(len(keys.first) == keys.count for keys in kinds)
    added, removed, changed = (set(keys.first) for keys in kinds)
    return added, removed, changed


def slow(old: Pairs, new: Pairs, key: Callable[[int], bytes]) -> tuple[set[str], set[str], set[str]]:
    def texts(numbers: set[int]) -> set[str]:
        return {key(number).decode() for number in numbers}

    both = set(old) & set(new)
    return (
        texts(set(new) - set(old)),
        texts(set(old) - set(new)),
        texts({number for number in both if old[number] != new[number]}),
    )


pairs = st.dictionaries(st.integers(0, 40), st.sampled_from([b"", b"a", b"b" * 300]), max_size=40)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(pairs, pairs)
def test_any_two_datasets_differ_as_their_pairs_do(
    content: Make, key: Callable[[int], bytes], old: Pairs, new: Pairs
) -> None:
    assert sets(difference(content(old), content(new), 1000)) == slow(old, new, key)


@pytest.mark.parametrize("turned", [False, True])
def test_datasets_of_other_numbers_of_blocks_can_be_compared(
    content: Make, key: Callable[[int], bytes], *, turned: bool
) -> None:
    few = {number: b"%d" % number for number in range(0, 3000, 7)}
    many = {number: b"%d" % (number - number % 100) for number in range(2000)}
    many |= {number: b"%d" % number * 4000 for number in range(2000, 4000)}  # large values make more blocks
    old, new = (many, few) if turned else (few, many)
    one, other = content(old), content(new)
    assert one.manifest.blocks != other.manifest.blocks
    assert sets(difference(one, other, 100_000)) == slow(old, new, key)


def test_only_so_many_keys_are_named(content: Make) -> None:
    found = difference(content({}), content(dict.fromkeys(range(50), b"")), 3)
    assert (found.added.count, len(found.added.first), found.removed.count) == (50, 3, 0)


def test_equal_blocks_are_not_read(content: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    old = {number: b"%d" % number for number in range(5000)}
    one, other = content(old), content({**old, 17: b"another"})
    read: list[int] = []
    blocks = Content.blocks

    def counting(self: Content, numbers: Iterator[int]) -> Iterator[object]:
        for block in blocks(self, numbers):
            read.append(block.number)
            yield block

    monkeypatch.setattr(Content, "blocks", counting)
    assert difference(one, other).changed.count == 1
    assert len(read) == 2
    assert difference(one, one).changed.count == 0
    assert len(read) == 2


def test_what_is_in_a_catalog_is_compared_where_it_is(
    publish: Publish, location: str, data: Callable[..., Path]
) -> None:
    first = publish(data(range(500))).version
    second = publish(data(range(1, 502))).version
    objects = Objects.at(location)
    with opened_in(objects, first.folder) as old, opened_in(objects, second.folder) as new:
        found = difference(old, new)
    assert (found.added.count, found.removed.count, found.changed.count) == (2, 1, 0)
