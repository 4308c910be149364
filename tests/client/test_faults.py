"""Servers that refuse, break off, are overloaded, or are no routers at all."""

import socket

import pytest

from ringkv.client.get import Client, Unavailable, UnexpectedAnswer, Unreachable, print_values
from tests.client.command import Command
from tests.client.stub import ABSENT, EMPTY, PLAIN, Fault, Handler, Router, replies


def test_a_refused_connection_is_one_line(get: Command) -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unheard.getsockname()[1]}"
        assert f"no answer from {url}: Connection refused" in get.fails(PLAIN, "--url", url)


def test_a_connection_that_the_server_closed_is_opened_again(get: Command, router: Router) -> None:
    router.faults += [Handler.answer_and_hang_up] * 3
    assert get.run(*[PLAIN] * 4) == (0, b"the value\n" * 4, "")
    assert router.connections == 4


@pytest.mark.parametrize("fault", [Handler.hang_up, Handler.break_off, Handler.talk_redis])
def test_a_reused_connection_that_breaks_is_tried_once_more(get: Command, router: Router, fault: Fault) -> None:
    router.faults += [Handler.answer, fault]
    assert get.run(PLAIN, PLAIN) == (0, b"the value\n" * 2, "")


@pytest.mark.parametrize("fault", [Handler.hang_up, Handler.break_off, Handler.talk_redis])
def test_a_new_connection_that_breaks_is_an_error(get: Command, router: Router, fault: Fault) -> None:
    router.faults += [fault] * 2
    assert router.url in get.fails(PLAIN)
    assert len(router.paths) == 1


def test_a_503_is_tried_again_when_the_router_says_when(get: Command, router: Router) -> None:
    router.faults += [replies(503, b"no owner\n", Retry_After="0")] * 2
    assert get.run(PLAIN) == (0, b"the value\n", "")
    assert router.connections == 1


@pytest.mark.parametrize(
    ("headers", "requests"),
    [
        ({"Retry_After": "0"}, 3),
        ({"Retry_After": "11"}, 1),
        ({"Retry_After": "Fri, 31 Dec 1999 23:59:59 GMT"}, 1),
        ({"Retry_After": "-1"}, 1),
        ({}, 1),
    ],
)
def test_a_503_that_lasts_is_one_line_with_the_reason(
    get: Command, router: Router, headers: dict[str, str], requests: int
) -> None:
    router.faults += [replies(503, b"no \x1b[31m owner\nof it\n", **headers)] * requests
    assert "is unavailable: 503 Service Unavailable: no ?[31m owner of it" in get.fails(PLAIN)
    assert len(router.paths) == requests


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (replies(404, b"Not Found: GET /a/b\n"), "404 Not Found: Not Found: GET /a/b"),
        (replies(404, b"<html>", Content_Type="text/html"), "404 Not Found"),
        (replies(400, b"not a UUID\n"), "400 Bad Request: not a UUID"),
        (replies(302, b"", Location="/elsewhere"), "302 Found"),
        (replies(500, b"\xff"), "500 Internal Server Error"),
    ],
)
def test_what_no_router_says_is_never_taken_for_a_missing_key(
    get: Command, router: Router, fault: Fault, said: str
) -> None:
    router.faults.append(fault)
    assert f"does not answer as a ringkv router: {said}" in get.fails(PLAIN)


@pytest.mark.parametrize(
    "fault",
    [
        replies(200, b"a", Content_Length=f"{10**30}"),
        replies(200, b"a", Content_Length=f"{10**15}"),
        replies(200, b"-5\r\na", Transfer_Encoding="chunked"),
        replies(200, b"f" * 20 + b"\r\na", Transfer_Encoding="chunked"),
    ],
)
def test_a_length_that_is_none_is_never_taken_for_a_missing_key(get: Command, router: Router, fault: Fault) -> None:
    router.faults.append(fault)
    assert f"{router.url} does not speak HTTP: " in get.fails(PLAIN)


def test_silence_ends_with_the_timeout(router: Router, capfd: pytest.CaptureFixture[str]) -> None:
    router.faults.append(Handler.say_nothing)
    assert print_values([PLAIN], lambda: Client(router.url, timeout=0.05)) == 2
    assert capfd.readouterr() == ("", f"Error: no answer from {router.url}: timed out; is a router there?\n")


def test_the_pause_is_as_long_as_the_router_asks_for(router: Router, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("ringkv.client.get.time.sleep", pauses.append)
    router.faults += [replies(503, b"", Retry_After=seconds) for seconds in ("1", "10")]
    with Client(router.url) as client:
        assert client.get(PLAIN) == b"the value"
    assert pauses == [1, 10]


def test_a_client_can_be_used_again_after_an_error(router: Router) -> None:
    router.faults.append(Handler.say_nothing)
    with Client(router.url, timeout=1) as client:
        with pytest.raises(Unreachable):
            client.get(PLAIN)
        assert client.get(ABSENT) is None
        assert client.get(EMPTY) == b""


def test_another_page_of_the_router_comes_as_it_is_after_a_passing_503(router: Router) -> None:
    router.faults += [replies(503, b"no topology\n", Retry_After="0"), replies(200, b'{"epoch": 3}')]
    with Client(router.url) as client:
        assert client.page("stats") == b'{"epoch": 3}'
        assert router.paths == ["/stats"] * 2
        router.faults += [replies(404, b"Not Found: GET /stats\n"), replies(503, b"no topology\n")]
        with pytest.raises(UnexpectedAnswer, match="404 Not Found"):
            client.page("stats")
        with pytest.raises(Unavailable, match="no topology"):
            client.page("stats")
