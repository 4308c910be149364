"""Where shards may be: a list, a name, and what to do when the name server does not answer."""

import asyncio
from socket import gaierror
from typing import Final

import pytest

from ringkv.cluster.errors import InvalidAddress
from ringkv.process.address import Address
from ringkv.process.names import Answer, Names
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
    lookout = Lookout(Discovery.parse("a:1,b:2"), Names())
    assert await lookout.look(frozenset([Address("c", 3)])) == {Address("a", 1), Address("b", 2)}


async def test_a_name_is_what_it_resolves_to() -> None:
    found = await Lookout(Discovery.parse("dns://localhost:7379,a:1"), Names()).look(frozenset())
    assert Address("a", 1) in found
    resolved = found - {Address("a", 1)}
    assert resolved
    assert resolved <= {Address("127.0.0.1", 7379), Address("::1", 7379)}


async def test_a_look_up_that_fails_keeps_what_is_known() -> None:
    known = frozenset([Address("10.0.0.1", 7379), Address("10.0.0.2", 7379)])
    found = await Lookout(Discovery.parse("a:1,dns://does-not-exist.invalid:7379"), Names()).look(known)
    assert found == known | {Address("a", 1)}


class Told(Names):
    """Answers that a test gives: to each name one after the other, or none yet."""

    def __init__(self, **answers: list[Answer]) -> None:
        super().__init__()
        self._answers = {host: iter(given) for host, given in answers.items()}
        self.late: dict[str, asyncio.Future[list[Address]]] = {}

    def ask(self, name: Address) -> asyncio.Future[list[Address]]:
        asked: asyncio.Future[list[Address]] = asyncio.get_running_loop().create_future()
        answer = next(self._answers[name.host], None)
        if answer is None:
            assert name.host not in self.late  # it is not asked for twice at once
            self.late[name.host] = asked
        elif isinstance(answer, OSError):
            asked.set_exception(answer)
        else:
            asked.set_result(answer)
        return asked


async def test_a_name_without_an_answer_holds_up_neither_addresses_nor_other_names(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(discovery, "DISCOVERY_INTERVAL", 0.01)
    other, known = Address("10.0.0.2", 7379), Address("10.0.0.3", 7379)
    names = Told(slow=[], good=[[SHARD], [SHARD, other], [SHARD]])
    lookout = Lookout(Discovery.parse("a:1,dns://slow:7379,dns://good:7379"), names)
    assert await lookout.look(frozenset([known])) == {Address("a", 1), SHARD, known}
    assert await lookout.look(frozenset([known])) == {Address("a", 1), SHARD, other, known}
    names.late.pop("slow").set_result([other])
    assert await lookout.look(frozenset([known])) == {Address("a", 1), SHARD, other}
    problem = "does not resolve: the name server has not answered yet; going on with the shards that are known"
    assert caplog.messages == [f"dns://slow:7379 {problem}", "dns://slow:7379 resolves again"]


async def test_a_name_that_does_not_resolve_is_told_once_and_so_is_its_return(caplog: pytest.LogCaptureFixture) -> None:
    unknown, later = gaierror(-2, "Name or service not known"), gaierror(-3, "Try again")
    names = Told(shard=[unknown, unknown, unknown, later, [SHARD], [SHARD]])
    lookout = Lookout(Discovery.parse("dns://shard:7379"), names)
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
