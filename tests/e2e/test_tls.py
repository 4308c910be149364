"""TLS on real processes: clients, routers and shards, and certificates that are changed while they run."""

import os
import signal
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
import redis
import requests

from tests.support.certificates import Authority, Certificate
from tests.support.data import EXAMPLE
from tests.support.processes import Spawned, Spawner, one_line, wait_for
from tests.support.visitors import KEY

KEPT = "what was read before goes on to count"
PROXY = b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n"
GET = f"GET /{KEY} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls") / "ours")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls") / "others")


def start(spawn: Spawner, shards: str, *options: str, env: dict[str, str] | None = None) -> tuple[Spawned, int, int]:
    """A router with its ports, without waiting for its shards."""
    listen = ("--listen", "127.0.0.1:0", "--redis-listen", "127.0.0.1:0")
    router = spawn("router", "--shards", shards, *listen, *options, env=env)
    port = int(router.wait_for_line(r"router listens on 127\.0\.0\.1:(\d+)")[1])
    return router, port, int(router.wait_for_line(r"router speaks Redis on 127\.0\.0\.1:(\d+)")[1])


def shake_hands(port: int, context: ssl.SSLContext) -> tuple[str | None, bytes]:
    """The version that was agreed on, and the serial number of the server's certificate."""
    with (
        socket.create_connection(("127.0.0.1", port), 30) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secured,
    ):
        found = secured.getpeercert()
        assert found is not None
        return secured.version(), str(found["serialNumber"]).encode()


def url(port: int, path: str = KEY) -> str:
    return f"https://localhost:{port}/{path}"


def test_clients_of_both_ports_speak_tls_and_the_certificate_is_changed_on_sighup(
    spawn: Spawner, authority: Authority, tmp_path: Path
) -> None:
    first, second = authority.issue("first"), authority.issue("second")
    used = Certificate(tmp_path / "used.pem", tmp_path / "used.key")

    def use(certificate: Certificate) -> None:
        used.certificate.write_bytes(certificate.certificate.read_bytes())
        used.key.write_bytes(certificate.key.read_bytes())

    use(first)
    shard = spawn.shard(EXAMPLE)
    router, port, redis_port = start(spawn, str(shard.address), *used.options)
    with requests.Session() as session:
        wait_for(lambda: session.get(url(port), verify=str(authority.roots), timeout=30).content == b"1234")
        for _ in range(3):
            assert session.get(url(port), verify=str(authority.roots), timeout=30).content == b"1234"
    with (
        redis.Redis("localhost", redis_port, ssl=True, ssl_ca_certs=str(authority.roots)) as client,
        client.pipeline(transaction=False) as pipeline,
    ):
        for _ in range(100):
            pipeline.get(KEY)
        assert pipeline.execute() == [b"1234"] * 100
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = authority.trusting()
        context.minimum_version = context.maximum_version = version
        assert (shake_hands(port, context)[0] or "").replace("v1.", "v1_") == version.name
    old = ssl.create_default_context(cafile=str(authority.roots))
    old.set_ciphers("ALL:@SECLEVEL=0")
    old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        shake_hands(port, old)
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://localhost:{port}/{KEY}", timeout=30)

    before = shake_hands(port, authority.trusting())[1]
    used.key.write_bytes(second.key.read_bytes())
    os.kill(router.pid, signal.SIGHUP)
    router.wait_for_line(f"no certificate with its key, both in PEM: .*; {KEPT}")
    assert shake_hands(port, authority.trusting())[1] == before
    use(second)
    os.kill(router.pid, signal.SIGHUP)
    wait_for(lambda: shake_hands(port, authority.trusting())[1] != before, router.err)
    wait_for(lambda: requests.get(url(port), verify=str(authority.roots), timeout=30).content == b"1234")
    router.process.terminate()
    assert router.wait() == 0
    assert "Traceback" not in router.err
    assert "has no effect" not in router.err


def test_who_has_no_certificate_is_refused_where_one_is_wanted(
    spawn: Spawner, authority: Authority, other: Authority
) -> None:
    shard = spawn.shard(EXAMPLE)
    options = (*authority.issue("router").options, "--tls-client-ca", str(authority.roots))
    router, port, redis_port = start(spawn, str(shard.address), *options)
    own, strange = authority.issue("reader"), other.issue("stranger")

    def get(certificate: Certificate | None) -> bytes:
        pair = (str(certificate.certificate), str(certificate.key)) if certificate else None
        return requests.get(url(port), verify=str(authority.roots), cert=pair, timeout=30).content

    wait_for(lambda: get(own) == b"1234")
    for certificate in (None, strange):
        with pytest.raises(requests.ConnectionError):
            get(certificate)
    reader: dict[str, Any] = {"ssl_certfile": str(own.certificate), "ssl_keyfile": str(own.key)}
    for credentials in (reader, {}):
        with redis.Redis("localhost", redis_port, ssl=True, ssl_ca_certs=str(authority.roots), **credentials) as client:
            if credentials:
                assert client.get(KEY) == b"1234"
            else:
                with pytest.raises(redis.ConnectionError):
                    client.get(KEY)
    assert "Traceback" not in router.err


def test_a_router_speaks_tls_with_shards_and_with_none_that_is_another(
    spawn: Spawner, authority: Authority, other: Authority
) -> None:
    known, stranger = authority.issue("router"), other.issue("router")
    certificate = authority.issue("shard")
    shard = spawn(
        *("shard", str(EXAMPLE), "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--name", "one"),
        *(*certificate.options, "--tls-client-ca", str(authority.roots)),
    )
    http = int(shard.wait_for_line(r"answers HTTP on 127\.0\.0\.1:(\d+)")[1])
    port = int(shard.wait_for_line(r"ready on 127\.0\.0\.1:(\d+)")[1])
    credentials = ("--shard-cert", str(known.certificate), "--shard-key", str(known.key))
    for shards in (f"127.0.0.1:{port}", f"dns://localhost:{port}"):
        router, router_http, _ = start(spawn, shards, "--shard-ca", str(authority.roots), *credentials)
        wait_for(lambda at=router_http: status(at) == 200, router.err)  # type: ignore[misc]
        router.process.terminate()
        assert router.wait() == 0
    pair = (str(known.certificate), str(known.key))
    assert requests.get(url(http, "readyz"), verify=str(authority.roots), cert=pair, timeout=30).text == "ready\n"

    wrong = [
        ((), "trying again"),
        (("--shard-ca", str(other.roots), *credentials), "its certificate is not trusted: "),
        (("--shard-ca", str(authority.roots)), "trying again"),
        (
            (
                "--shard-ca",
                str(authority.roots),
                "--shard-cert",
                str(stranger.certificate),
                "--shard-key",
                str(stranger.key),
            ),
            "trying again",
        ),
    ]
    for options, said in wrong:
        router, router_http, _ = start(spawn, f"127.0.0.1:{port}", *options)
        router.wait_for_line(rf"shard at 127\.0\.0\.1:{port}: .*{said}")
        assert status(router_http, "readyz") == 503
        router.process.terminate()
        assert router.wait() == 0
        assert "Traceback" not in router.err
    assert "Traceback" not in shard.err


def status(port: int, path: str = KEY) -> int:
    return requests.get(f"http://127.0.0.1:{port}/{path}", timeout=30).status_code


def test_a_shard_of_another_name_is_not_trusted(spawn: Spawner, authority: Authority) -> None:
    certificate = authority.issue("elsewhere", "DNS:elsewhere.example")
    shard = spawn("shard", EXAMPLE, "--listen", "127.0.0.1:0", *certificate.options)
    port = int(shard.wait_for_line(r"ready on 127\.0\.0\.1:(\d+)")[1])
    for host in (f"127.0.0.1:{port}", f"dns://localhost:{port}"):
        router, *_ = start(spawn, host, "--shard-ca", str(authority.roots))
        router.wait_for_line(r"shard at .*(IP address|Hostname) mismatch")


@pytest.mark.parametrize("pieces", [1, 2, 3])
def test_the_header_of_a_proxy_comes_before_the_handshake(spawn: Spawner, authority: Authority, pieces: int) -> None:
    shard = spawn.shard(EXAMPLE)
    router, port, _ = start(spawn, str(shard.address), *authority.issue("router").options, "--proxy-protocol")
    router.wait_for_line("topology 1 in")
    context = authority.trusting()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with socket.create_connection(("127.0.0.1", port), 30) as plain:
        header = PROXY
        if pieces == 2:
            plain.sendall(header)
            header = b""
        answer = b""
        asked = False
        while True:
            try:
                if not asked:
                    session.do_handshake()
                    session.write(GET)
                    asked = True
                answer += session.read(1 << 16)
                if b"1234" in answer:
                    break
            except ssl.SSLWantReadError:
                sent, header = header + outgoing.read(), b""
                cut = len(sent) // 2 if pieces == 3 else len(sent)
                plain.sendall(sent[:cut])
                plain.sendall(sent[cut:])
                received = plain.recv(1 << 16)
                assert received, router.err
                incoming.write(received)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")


def test_what_cannot_be_used_is_one_line_at_the_start(
    spawn: Spawner, authority: Authority, other: Authority, tmp_path: Path
) -> None:
    good, strange = authority.issue("good"), other.issue("strange")
    text = tmp_path / "text"
    text.write_text("no certificate\n")
    missing = tmp_path / "missing"
    refused = {
        ("--tls-cert", str(missing)): f"TLS: cannot be read: {missing}: No such file or directory",
        ("--tls-cert", str(good.certificate), "--tls-key", str(strange.key)): (
            f"TLS: no certificate with its key, both in PEM: {good.certificate}, {strange.key}"
        ),
        ("--tls-cert", str(good.certificate)): (
            f"TLS: no certificate with its key, both in PEM: {good.certificate}, {good.certificate}"
        ),
        (*good.options, "--tls-client-ca", str(text)): f"TLS: no certificates in PEM: {text}",
        ("--tls-key", str(good.key)): "--tls-key and --tls-client-ca need --tls-cert",
    }
    for options, line in refused.items():
        assert one_line(spawn("shard", EXAMPLE, "--listen", "127.0.0.1:0", *options)) == f"Error: {line}"
    of_router = {
        ("--shard-ca", str(text)): f"TLS: no certificates in PEM: {text}",
        ("--shard-cert", str(good.certificate)): "--shard-cert and --shard-key need --shard-ca",
        ("--tls-cert", str(text)): f"TLS: no certificate with its key, both in PEM: {text}, {text}",
    }
    for options, line in of_router.items():
        spawned = spawn("router", "--shards", "127.0.0.1:1", "--listen", "127.0.0.1:0", *options)
        assert one_line(spawned) == f"Error: {line}"
