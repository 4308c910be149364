"""Where shards may be: a list, a name, and what to do when the name server does not answer."""

from socket import gaierror
from typing import Final

import pytest

from ringkv.cluster.errors import InvalidAddress
from ringkv.process.address import Address
from ringkv.router.members import discovery
from ringkv.router.members.discovery import Lookout
from ringkv.router.settings import Discovery

SHARD: Final = Address("10.0.0.1", 7379)


def test_every_form_of_the_list_is_read() -> None:
    discovery = Discovery.parse(" a:1, unix:/run/s ,dns://shard:7379,[::1]:5,,dns://more:1 ")
    assert discovery.addresses == {Address("a", 1), Address("/run/s", None), Address("::1", 5)}
    assert discovery.names == (Address("shard", 7379), Address("more", 1))


@pytest.mark.parametrize("text", ["", " , ", "a", "a:1,b", "dns://", "dns://host", "http://host:1/", "a:1 b:2:3"])
def test_what_is_no_list_is_refused(text: str) -> None:
    with pytest.raises(InvalidAddress, match=r"want host:port"):
        Discovery.parse(text)


async def test_a_list_is_always_the_same() -> None:
    lookout = Lookout(Discovery.parse("a:1,b:2"))
    assert await lookout.look(frozenset([Address("c", 3)])) == {Address("a", 1), Address("b", 2)}


async def test_a_name_is_what_it_resolves_to() -> None:
    found = await Lookout(Discovery.parse("dns://localhost:7379,a:1")).look(frozenset())
    assert Address("a", 1) in found
    resolved = found - {Address("a", 1)}
    assert resolved
    assert resolved <= {Address("127.0.0.1", 7379), Address("::1", 7379)}


async def test_a_look_up_that_fails_keeps_what_is_known() -> None:
    known = frozenset([Address("10.0.0.1", 7379), Address("10.0.0.2", 7379)])
    found = await Lookout(Discovery.parse("a:1,dns://does-not-exist.invalid:7379")).look(known)
    assert found == known | {Address("a", 1)}


async def test_a_name_that_does_not_resolve_is_told_once_and_so_is_its_return(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    answers = iter([gaierror(-2, "Name or service not known")] * 3 + [gaierror(-3, "Try again")] + [{SHARD}] * 2)

    async def resolve(_name: Address) -> set[Address]:
        answer = next(answers)
        if isinstance(answer, gaierror):
            raise answer
        return answer

    monkeypatch.setattr(discovery, "_resolve", resolve)
    lookout = Lookout(Discovery.parse("dns://shard:7379"))
    known = frozenset[Address]()
    for _ in range(6):
        known = await lookout.look(known)
    assert known == {SHARD}
    assert {record.levelname for record in caplog.records} == {"WARNING"}
    assert [record.message for record in caplog.records] == [
        "dns://shard:7379 does not resolve: name or service not known; going on with the shards that are known",
        "dns://shard:7379 does not resolve: try again; going on with the shards that are known",
        "dns://shard:7379 resolves again",
    ]
