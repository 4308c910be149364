"""What a user sees of `python client/get.py` and `ringkv get`: values, keys, addresses, pipes."""

import os
import shutil
import signal
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from ringkv.client.get import Client, InvalidKey, InvalidURL
from tests.client.command import ROOT, Command
from tests.client.stub import ABSENT, BINARY, EMPTY, PLAIN, VALUES, Handler, Router, running

UNDECODABLE = os.fsdecode(b"\xff")

MAKE_CERTIFICATE = """
exec openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=router \\
    -addext subjectAltName=IP:127.0.0.1 -keyout key.pem -out certificate.pem
"""


@pytest.mark.parametrize("key", VALUES)
def test_a_value_comes_back_byte_for_byte_and_with_a_newline(get: Command, key: str) -> None:
    assert get.run(key) == (0, VALUES[key] + b"\n", "")


def test_several_values_come_in_the_order_of_their_keys(get: Command) -> None:
    assert get.run(BINARY, EMPTY, PLAIN)[1] == VALUES[BINARY] + b"\n\n" + VALUES[PLAIN] + b"\n"


def test_an_upper_case_key_is_asked_for_in_lower_case(get: Command, router: Router) -> None:
    assert get.run(PLAIN.upper()) == (0, b"the value\n", "")
    assert router.paths == [f"/{PLAIN}"]


def test_a_missing_key_is_named_and_the_others_are_printed(get: Command) -> None:
    assert get.run(PLAIN, ABSENT, EMPTY) == (1, b"the value\n\n", f"no such key: {ABSENT}\n")


def test_thousands_of_keys_from_stdin_use_one_connection(get: Command, router: Router) -> None:
    keys = f"{PLAIN}\r\n\n  {EMPTY} \n".encode() * 1000 + BINARY.encode()
    assert get.run("-", keys=keys) == (0, b"the value\n\n" * 1000 + VALUES[BINARY] + b"\n", "")
    assert router.connections == 1


def test_stdin_stands_where_the_dash_stands(get: Command) -> None:
    assert get.run(PLAIN, "-", PLAIN, keys=EMPTY.encode()) == (0, b"the value\n\nthe value\n", "")


def test_a_value_is_printed_before_the_next_key_is_read(get: Command) -> None:
    with get.start("-") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for _ in range(3):
            process.stdin.write(f"{PLAIN}\n".encode())
            process.stdin.flush()
            assert process.stdout.readline() == b"the value\n"
        assert process.communicate() == (b"", b"")
        assert process.returncode == 0


@pytest.mark.parametrize(
    "key",
    [
        "",
        " ",
        "ring",
        "healthz",
        "../ring",
        "two\nlines",
        "\x1b[31m",
        "é",
        UNDECODABLE,
        f"{PLAIN} ",
        f"{PLAIN}\n",
        PLAIN[:-1],
        PLAIN.replace("-", ""),
        f"{{{PLAIN}}}",
        PLAIN.replace("-41", "-11"),
        PLAIN.replace("-929b", "-c29b"),
    ],
)
def test_what_is_not_a_key_is_never_sent(router: Router, key: str) -> None:
    with Client(router.url) as client, pytest.raises(InvalidKey, match=r"\Anot a UUID version 4: .*\Z"):
        client.get(key)
    assert router.paths == []


@pytest.mark.parametrize("key", ["", "two\nlines", "\x1b[31m", UNDECODABLE])
def test_a_bad_key_is_one_line(get: Command, key: str) -> None:
    assert "not a UUID version 4" in get.fails(key)


def test_a_bad_line_on_stdin_is_named_by_its_number(get: Command) -> None:
    code, out, err = get.run("-", keys=f"{PLAIN}\n\nb\xe4d\n{PLAIN}\n".encode("latin-1"))
    assert (code, out) == (2, b"the value\n")
    assert err.startswith(r"Error: standard input, line 3: not a UUID version 4: 'b\\xe4d'")
    assert err.count("\n") == 1


@pytest.mark.parametrize("args", [[], ["--no-such-option", PLAIN], ["--no\nsuch", PLAIN], [PLAIN, "--url"]])
def test_wrong_usage_is_one_line(get: Command, args: list[str]) -> None:
    assert "--help" in get.fails(*args)


def test_help_has_an_example_and_the_exit_codes(get: Command) -> None:
    code, out, err = get.run("--help")
    assert (code, err) == (0, "")
    assert b"Exit code 0" in out
    assert b"example.data" in out
    assert max(map(len, out.decode().splitlines())) <= 80 + len(str(ROOT))


def test_the_option_beats_the_environment_and_may_stand_anywhere(get: Command, router: Router) -> None:
    get.env["RINGKV_URL"] = "http://127.0.0.1:1"
    assert get.run(PLAIN, "--url", router.url, EMPTY) == (0, b"the value\n\n", "")


def test_a_path_prefix_is_kept(get: Command, router: Router) -> None:
    assert get.run(PLAIN, "--url", f"{router.url}/a b/%C3%A9/") == (0, b"the value\n", "")
    assert router.paths == [f"/a%20b/%C3%A9/{PLAIN}"]


def test_an_ipv6_address_works(get: Command) -> None:
    try:
        listening = Router("::1")
    except OSError:
        pytest.skip("this machine has no IPv6")
    with running(listening) as ipv6:
        assert get.run(PLAIN, "--url", ipv6.url) == (0, b"the value\n", "")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make a certificate")
def test_https_works_and_trusts_no_stranger(get: Command, router: Router, tmp_path: Path) -> None:
    subprocess.run(
        ["sh", "-c", MAKE_CERTIFICATE],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "certificate.pem", tmp_path / "key.pem")
    router.socket = context.wrap_socket(router.socket, server_side=True)
    url = router.url.replace("http", "https")
    assert "certificate" in get.fails(PLAIN, "--url", url)
    get.env["SSL_CERT_FILE"] = str(tmp_path / "certificate.pem")
    assert get.run(PLAIN, "--url", url) == (0, b"the value\n", "")


@pytest.mark.parametrize(
    "url",
    [
        "localhost:8000",
        "ftp://localhost",
        "http://",
        "http:///path",
        "http://localhost:port",
        "http://localhost:99999",
        "http://[::1",
        "http://two words",
        "http://a..b",
        f"http://{'a' * 64}.example",
        "http://user:password@localhost",
        "http://localhost?query",
        "http://localhost#fragment",
        "two\nlines",
        f"http://localhost/{UNDECODABLE}",
    ],
)
def test_a_bad_url_is_refused(url: str) -> None:
    with pytest.raises(InvalidURL, match=r"\Anot the URL of a router: .*\Z"):
        Client(url)


@pytest.mark.parametrize("url", ["localhost:8000", "two\nlines", f"http://localhost/{UNDECODABLE}"])
def test_a_bad_url_is_one_line(get: Command, url: str) -> None:
    assert "not the URL of a router" in get.fails(PLAIN, "--url", url)


def test_a_reader_that_leaves_ends_the_command_without_a_word(get: Command) -> None:
    with get.start("-") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.stdin.write(f"{PLAIN}\n".encode())
        process.stdin.close()
        assert process.stderr.read() == b""
        assert process.wait() == 141


def test_ctrl_c_ends_the_command_without_a_word(get: Command, router: Router) -> None:
    router.faults.append(Handler.say_nothing)
    with get.start(PLAIN) as process:
        assert router.asked.wait(60)
        process.send_signal(signal.SIGINT)
        assert process.communicate() == (b"", b"")
        assert process.returncode == 130


@pytest.mark.parametrize("name", ["get", "explain"])
def test_ctrl_c_while_a_command_is_loaded_is_not_the_answer_that_a_key_is_missing(name: str) -> None:
    program = f"""
import os, signal, sys
from ringkv.cli import COMMANDS, main
class Interrupted:
    def find_spec(name, *_):
        if name == COMMANDS[{name!r}]:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupted)
main([{name!r}, {PLAIN!r}])
"""
    ended = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")


@pytest.mark.parametrize("redirection", [">&-", "<&-", ">/dev/full"])
def test_an_input_or_output_that_does_not_work_is_one_line(get: Command, redirection: str) -> None:
    if "full" in redirection and not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with get.start("-", PLAIN, within=f'exec "$@" {redirection}') as process:
        _, err = process.communicate()
    assert process.returncode == 2
    assert err.startswith(b"Error: standard input or output: ")
    assert err.count(b"\n") == 1


def test_a_closed_stderr_does_not_mix_into_the_values(get: Command) -> None:
    with get.start(ABSENT, PLAIN, within='exec "$@" 2>&-') as process:
        assert process.communicate() == (b"the value\n", b"")
        assert process.returncode == 1
