"""Where shards may be: a list, a name, and what to do when the name server does not answer."""

import pytest

from cluster.address import Address
from cluster.errors import InvalidAddress
from router.discovery import Discovery


def test_every_form_of_the_list_is_read() -> None:
    discovery = Discovery.parse(" a:1, unix:/run/s ,dns://shard:7379,[::1]:5,,dns://more:1 ")
    assert discovery.addresses == {Address("a", 1), Address("/run/s", None), Address("::1", 5)}
    assert discovery.names == (Address("shard", 7379), Address("more", 1))


@pytest.mark.parametrize("text", ["", " , ", "a", "a:1,b", "dns://", "dns://host", "http://host:1/", "a:1 b:2:3"])
def test_what_is_no_list_is_refused(text: str) -> None:
    with pytest.raises(InvalidAddress, match=r"want host:port"):
        Discovery.parse(text)


async def test_a_list_is_always_the_same() -> None:
    discovery = Discovery.parse("a:1,b:2")
    assert await discovery.look(frozenset([Address("c", 3)])) == {Address("a", 1), Address("b", 2)}


async def test_a_name_is_what_it_resolves_to() -> None:
    found = await Discovery.parse("dns://localhost:7379,a:1").look(frozenset())
    assert Address("a", 1) in found
    resolved = found - {Address("a", 1)}
    assert resolved
    assert resolved <= {Address("127.0.0.1", 7379), Address("::1", 7379)}


async def test_a_look_up_that_fails_keeps_what_is_known() -> None:
    known = frozenset([Address("10.0.0.1", 7379), Address("10.0.0.2", 7379)])
    found = await Discovery.parse("a:1,dns://does-not-exist.invalid:7379").look(known)
    assert found == known | {Address("a", 1)}
