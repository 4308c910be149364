"""A folder with a certificate makes Compose's front door speak TLS, to those who publish too."""

import shutil
from pathlib import Path

import pytest
import redis
import requests

from tests.compose.project import Project
from tests.support.certificates import Authority
from tests.support.processes import wait_for
from tests.support.visitors import KEY

pytestmark = [pytest.mark.xdist_group("compose"), pytest.mark.timeout(500)]

NAME = "keys.example"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """As an operator fills it; readable by all users, since nobody knows whom the tests are run by."""
    authority = Authority(tmp_path / "ours")
    server = authority.issue("server", f"DNS:{NAME},DNS:localhost")
    client = authority.issue("client", "DNS:client")
    folder = tmp_path / "tls"
    folder.mkdir()
    for source, name in (
        (server.certificate, "tls.crt"),
        (server.key, "tls.key"),
        (client.certificate, "client.crt"),
        (client.key, "client.key"),
        (authority.roots, "ca.crt"),
        (authority.roots, "clients.crt"),
    ):
        shutil.copy(source, folder / name)
        (folder / name).chmod(0o644)
    for parent in (folder, tmp_path, *tmp_path.parents[:2]):
        parent.chmod(0o755)
    return folder


def test_both_ports_speak_tls_with_clients_that_have_a_certificate(cluster: Project, folder: Path) -> None:
    cluster.variables = {"RINGKV_TLS": str(folder), "RINGKV_TLS_NAME": NAME, "RINGKV_TLS_CLIENT_CA": "clients.crt"}
    cluster.up()
    own, roots = (str(folder / "client.crt"), str(folder / "client.key")), str(folder / "ca.crt")
    wait_for(lambda: cluster.inspect("router")[0]["State"]["Health"]["Status"] == "healthy", "not healthy")
    url = f"https://localhost:{cluster.port()}/{KEY}"
    assert requests.get(url, verify=roots, cert=own, timeout=30).content == b"1234"
    with pytest.raises(requests.ConnectionError):
        requests.get(url, verify=roots, timeout=30)
    port = cluster.port(inside=6380)
    with redis.Redis(
        "localhost", port, ssl=True, ssl_ca_certs=roots, ssl_certfile=own[0], ssl_keyfile=own[1]
    ) as client:
        assert client.get(KEY) == b"1234"
    assert f"served: https://{NAME}:8000" in cluster.publish()
