"""What the installed command reads from files: a token, the roots of a router, and a certificate of its own."""

import ssl
from pathlib import Path

import pytest

from tests.client.command import Command
from tests.client.stub import PLAIN, Router
from tests.support.certificates import Authority


@pytest.fixture
def get(router: Router) -> Command:
    return Command("ringkv get", router.url)


def test_the_first_token_of_the_file_is_said_in_place_of_the_environment(
    get: Command, router: Router, tmp_path: Path
) -> None:
    get.env["RINGKV_TOKEN"] = "other"
    path = tmp_path / "tokens"
    path.write_text("# readers\n\n first \nsecond\n")
    assert get.run("--token-file", str(path), PLAIN)[0] == 0
    assert router.said == ["Bearer first"]


@pytest.mark.parametrize("content", [None, "", "# none\n", "two words\n", "\udcff\n"])
def test_what_is_no_token_is_one_line_and_never_sent(
    get: Command, router: Router, tmp_path: Path, content: str | None
) -> None:
    path = tmp_path / "tokens"
    if content is not None:
        path.write_bytes(content.encode(errors="surrogateescape"))
    assert "token" in get.fails("--token-file", str(path), PLAIN)
    assert router.paths == []


def test_a_router_of_roots_of_ones_own_that_wants_a_certificate_is_shown_one(
    get: Command, router: Router, tmp_path: Path
) -> None:
    ours = Authority(tmp_path / "ours")
    server, reader = ours.issue("server"), ours.issue("reader")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(ours.roots))
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(server.certificate, server.key)
    router.socket = context.wrap_socket(router.socket, server_side=True)
    trusting = (PLAIN, "--url", router.url.replace("http", "https"), "--ca", str(ours.roots))
    both = tmp_path / "both.pem"
    both.write_bytes(reader.certificate.read_bytes() + reader.key.read_bytes())
    shown = ("--cert", str(reader.certificate), "--cert-key", str(reader.key))
    assert get.run(*trusting, *shown) == (0, b"the value\n", "")
    assert get.run(*trusting, "--cert", str(both)) == (0, b"the value\n", "")
    assert "no answer from" in get.fails(*trusting)


def test_files_that_hold_something_else_are_one_line(get: Command, router: Router, tmp_path: Path) -> None:
    one = Authority(tmp_path / "ours").issue("one")
    assert "no certificates in PEM: " in get.fails(PLAIN, "--ca", str(one.key))
    assert "No such file" in get.fails(PLAIN, "--ca", str(tmp_path / "missing"))
    assert "no certificate with its key" in get.fails(PLAIN, "--cert", str(one.certificate))
    assert "needs --cert" in get.fails(PLAIN, "--cert-key", str(one.key))
    assert router.paths == []
