"""A router that wants a token is said that of the environment."""

import pytest

from ringkv.client.get import Client, InvalidToken, Unauthorized
from tests.client.command import Command
from tests.client.stub import PLAIN, Router, replies

REFUSED = replies(401, b"a token is needed\n", WWW_Authenticate="Bearer")


def test_without_a_token_none_is_said(get: Command, router: Router) -> None:
    get.env["RINGKV_TOKEN"] = ""
    assert get.run(PLAIN)[0] == 0
    assert router.said == [None]


def test_the_token_of_the_environment_is_said(get: Command, router: Router) -> None:
    get.env["RINGKV_TOKEN"] = "one-token="
    assert get.run(PLAIN, PLAIN)[0] == 0
    assert router.said == ["Bearer one-token="] * 2


def test_a_router_that_wants_a_token_is_one_line(get: Command, router: Router) -> None:
    router.faults = [REFUSED]
    assert get.fails(PLAIN) == (
        f"Error: {router.url} wants a token, or another one ($RINGKV_TOKEN): 401 Unauthorized: a token is needed\n"
    )
    router.faults = [REFUSED]
    with Client(router.url, token="wrong") as client, pytest.raises(Unauthorized):
        client.get(PLAIN)


@pytest.mark.parametrize("token", ["a b", "a\r\nX: y", "ä"])
def test_a_token_cannot_add_a_header(token: str) -> None:
    with pytest.raises(InvalidToken):
        Client("http://localhost", token=token)
