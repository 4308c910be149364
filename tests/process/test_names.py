"""Names: each is looked up by itself, once for all who ask, and nobody has to wait to its end."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from typing import Any, Final

import pytest

from ringkv.process.address import Address
from ringkv.process.names import Names

GOOD: Final = Address("localhost", 7379)
SLOW: Final = [Address(f"slow-{number}", 7379) for number in range(6)]


class Server:
    """A name server that does not answer for names that begin with `slow` before it is told to."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answers = threading.Event()
        self.fails = False
        self._getaddrinfo = socket.getaddrinfo

    def getaddrinfo(self, host: str, *rest: Any, **options: Any) -> Any:
        self.asked.append(host)
        if host.startswith("slow"):
            self.answers.wait()
            if self.fails:
                raise socket.gaierror(-3, "Temporary failure in name resolution")
        return self._getaddrinfo("127.0.0.1", *rest, **options)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    server = Server()
    monkeypatch.setattr(socket, "getaddrinfo", server.getaddrinfo)
    yield server
    server.answers.set()


async def test_names_without_an_answer_hold_up_no_other(server: Server) -> None:
    names = Names()
    waiting = [names.ask(name) for name in SLOW]
    assert await names.ask(GOOD) == [Address("127.0.0.1", 7379)]
    assert not any(answer.done() for answer in waiting)
    server.answers.set()
    assert await asyncio.gather(*waiting) == [[Address("127.0.0.1", 7379)]] * len(SLOW)


async def test_who_asks_again_and_again_and_gives_up_asks_once(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    names = Names()
    for _ in range(3):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await names.behind(SLOW[0])
    answer = names.ask(SLOW[0])
    assert server.asked == [SLOW[0].host]
    server.fails = True
    server.answers.set()
    await asyncio.wait([answer])
    del answer
    server.fails = False
    assert await names.behind(SLOW[0]) == [Address("127.0.0.1", 7379)]
    assert caplog.records == []  # that nobody has asked for the error


async def test_an_address_found_keeps_the_name_that_a_certificate_has_to_bear(server: Server) -> None:
    (found,) = await Names().behind(GOOD)
    assert (found.host, found.name) == ("127.0.0.1", "localhost")
    assert server.asked == ["localhost"]


@pytest.mark.parametrize("address", [Address("127.0.0.1", 1), Address("::1", 1), Address("/run/shard", None)])
async def test_what_is_no_name_is_not_looked_up(server: Server, address: Address) -> None:
    assert await Names().behind(address) == [address]
    assert server.asked == []


async def test_without_room_for_a_thread_it_is_an_error_and_the_next_look_up_works(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    names = Names()
    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", start)
        answer = names.ask(GOOD)
    with pytest.raises(BlockingIOError, match="Resource temporarily unavailable"):
        await answer
    assert await names.behind(GOOD) == [Address("127.0.0.1", 7379)]
    assert server.asked == [GOOD.host]


def test_a_loop_that_ends_waits_for_no_answer(server: Server) -> None:
    async def ask() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await Names().behind(SLOW[0])

    asyncio.run(ask())
    (thread,) = (each for each in threading.enumerate() if each.name == "ringkv-names")
    assert thread.daemon
    server.answers.set()
    thread.join()
