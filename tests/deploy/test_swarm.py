"""deploy/swarm.yaml is what `docker stack deploy` takes, and asks of ringkv what it has."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import click
import pytest
import yaml

from ringkv.cli import main
from ringkv.router.policy import DRAIN_SECONDS as ROUTER_DRAINS
from ringkv.shard.server import DRAIN_SECONDS as SHARD_DRAINS
from tests.compose.project import docker
from tests.deploy.test_observe import needs
from tests.support.certificates import Authority
from tests.support.data import ROOT
from tests.support.processes import Spawner

FILE: Final = ROOT / "deploy" / "swarm.yaml"
TLS: Final = ROOT / "deploy" / "swarm-tls.yaml"
CLIENT_CA: Final = ROOT / "deploy" / "swarm-client-ca.yaml"

GIVEN: Final = {
    "CATALOG": "s3://example/ringkv",
    "RINGKV_IMAGE": "registry.example/ringkv:1",
    "AWS_REGION": "eu-central-1",
}


def environment(**changed: str) -> dict[str, str]:
    """A shell's, with nothing of ours but what is given."""
    ours = ("RINGKV_", "AWS_", "AZURE_", "COMPOSE_", "CATALOG")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)} | GIVEN | changed


@pytest.fixture
def services() -> dict[str, Any]:
    """The services as Docker understands them."""
    needs("docker")
    shown = docker("compose", "--file", str(FILE), "config", "--format=json", env=environment())
    found: dict[str, Any] = json.loads(shown)["services"]
    return found


def test_a_stack_is_what_it_describes() -> None:
    needs("docker")
    shown = docker("stack", "config", "--compose-file", str(FILE), env=environment())
    # What it drops it says nothing of: these must be left.
    for kept in ("read_only: true", "cap_drop:", "init: true", "endpoint_mode: dnsrr", "mode: host", "mode: global"):
        assert kept in shown
    assert "name: ringkv-cache-{{.Task.Slot}}" in shown


@pytest.mark.parametrize("name", ["CATALOG", "RINGKV_IMAGE"])
def test_what_must_be_set_is_asked_for(name: str) -> None:
    needs("docker")
    with pytest.raises(AssertionError, match=f"required variable {name} is missing a value"):
        docker("stack", "config", "--compose-file", str(FILE), env=environment(**{name: ""}))


def test_tls_is_added_by_a_second_file(services: dict[str, Any]) -> None:
    files = (f"--compose-file={FILE}", f"--compose-file={TLS}")
    secrets = {"RINGKV_TLS_CERT": "cert-1", "RINGKV_TLS_KEY": "key-1"}
    shown = yaml.safe_load(docker("stack", "config", *files, env=environment(**secrets)))
    router = shown["services"]["router"]
    assert [secret["source"] for secret in router["secrets"]] == ["secret", "tls.crt", "tls.key"]
    assert {name: secret["name"] for name, secret in shown["secrets"].items()} == {
        "secret": "ringkv-secret",
        "tls.crt": "cert-1",
        "tls.key": "key-1",
    }
    added = {"RINGKV_TLS_CERT": "/run/secrets/tls.crt", "RINGKV_TLS_KEY": "/run/secrets/tls.key"}
    plain = {name: value for name, value in services["router"]["environment"].items() if value is not None}
    assert {name: str(value) for name, value in router["environment"].items()} == plain | added
    assert router["healthcheck"]["test"] == services["router"]["healthcheck"]["test"]


def test_the_roots_of_clients_are_added_by_a_third_file() -> None:
    needs("docker")
    names = {"RINGKV_TLS_CERT": "cert-1", "RINGKV_TLS_KEY": "key-1"}
    names |= {f"RINGKV_TLS_CLIENT_{what}": f"{what.lower()}-1" for what in ("CA", "CERT", "KEY")}
    files = [f"--compose-file={path}" for path in (FILE, TLS, CLIENT_CA)]
    shown = yaml.safe_load(docker("stack", "config", *files, env=environment(**names)))
    router = shown["services"]["router"]
    own = ["tls.crt", "tls.key", "clients.crt", "client.crt", "client.key"]
    assert sorted(secret["source"] for secret in router["secrets"]) == sorted(["secret", *own])
    assert [shown["secrets"][name]["name"] for name in own] == ["cert-1", "key-1", "ca-1", "cert-1", "key-1"]
    assert router["environment"]["RINGKV_TLS_CLIENT_CA"] == "/run/secrets/clients.crt"
    for name in names:
        with pytest.raises(AssertionError, match=f"required variable {name} is missing a value"):
            docker("stack", "config", *files, env=environment(**names | {name: ""}))


def test_the_health_check_of_a_router_shows_a_certificate_where_one_is_wanted(
    services: dict[str, Any], spawn: Spawner, tmp_path: Path
) -> None:
    authority = Authority(tmp_path / "ours")
    server, client = authority.issue("server"), authority.issue("client")
    variables = {
        "RINGKV_TLS_CERT": str(server.certificate),
        "RINGKV_TLS_KEY": str(server.key),
        "RINGKV_TLS_CLIENT_CA": str(authority.roots),
    }
    shards = ("--shards", f"unix:{tmp_path}/nobody")
    router = spawn("router", *shards, "--listen", "127.0.0.1:0", env=variables)
    port = router.wait_for_line(r"listens on 127\.0\.0\.1:(\d+)")[1]
    probe = services["router"]["healthcheck"]["test"][-1].replace("8000", port)
    for source, name in ((client.certificate, "client.crt"), (client.key, "client.key")):
        probe = probe.replace(f"/run/secrets/{name}", str(source))

    def healthy(**shown: str) -> bool:
        return (
            subprocess.run([sys.executable, "-ISc", probe], env=shown, capture_output=True, check=False).returncode == 0
        )

    assert healthy(**variables)
    del variables["RINGKV_TLS_CLIENT_CA"]
    assert not healthy(**variables)


def test_keys_that_are_lent_for_a_while_are_handed_on_whole() -> None:
    needs("docker")
    lent = {name: f"the {name}" for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")}
    shown = docker("compose", "--file", str(FILE), "config", "--format=json", env=environment(**lent))
    assert lent.items() <= json.loads(shown)["services"]["shard"]["environment"].items()


@pytest.mark.parametrize(("path", "body"), [(FILE, "\nx-server"), (TLS, "\nservices"), (CLIENT_CA, "\nservices")])
def test_every_variable_is_told_of_at_the_head_of_the_file(path: Path, body: str) -> None:
    text = path.read_text()
    head = text[: text.index(body)]
    for name in re.findall(r"\$\{(\w+)", text):
        assert re.search(rf"^#   {name}\s", head, re.MULTILINE), name


def test_ringkv_takes_every_command_and_every_variable(
    services: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert set(services) == {"router", "shard"}
    for name, service in services.items():
        variables = {key: value for key, value in service["environment"].items() if value is not None}
        command = main.get_command(click.Context(main), name)
        assert command is not None
        known = {option.envvar for option in command.params if isinstance(option, click.Option)}
        assert {key for key in variables if key.startswith("RINGKV_")} <= known
        with monkeypatch.context() as patch:
            for key, value in variables.items():
                patch.setenv(key, str(value).replace("{{.Node.Hostname}}", "node-1.example"))
            given = command.make_context(name, list(service["command"][1:])).params
        assert [secret["target"] for secret in service["secrets"]] == [str(given["secret_file"])]
        assert given["zone"] == "node-1.example"
        probe = service["healthcheck"]["test"][-1]
        if name == "shard":
            assert given["data"] == (GIVEN["CATALOG"],)
            assert given["leased"]
            assert f'("127.0.0.1", {given["http"].port})' in probe
            assert [volume["target"] for volume in service["volumes"]] == [str(given["cache"])]
            assert f"--group ringkv /packed {given['cache']}" in (ROOT / "deploy" / "Dockerfile").read_text()
        else:
            assert given["replicas"] == 2
            assert given["shards"] == "dns://tasks.shard:7379"
            assert f'("127.0.0.1", {given["listen"].port})' in probe
            published = {port["target"]: port for port in service["ports"]}
            assert set(published) == {given["listen"].port, given["redis_listen"].port}
            assert {port["mode"] for port in published.values()} == {"host"}


def test_a_task_has_the_time_to_leave_and_no_more_rights_than_it_must(services: dict[str, Any]) -> None:
    for name, drains in (("shard", SHARD_DRAINS), ("router", ROUTER_DRAINS)):
        service = services[name]
        assert drains + 5 < float(service["stop_grace_period"].removesuffix("s"))
        assert service["read_only"]
        assert service["init"]
        assert service["cap_drop"] == ["ALL"]
        assert service["deploy"]["resources"]["limits"]["memory"]
        assert service["deploy"]["endpoint_mode"] == "dnsrr"
        assert service["deploy"]["update_config"]["order"] == "stop-first"
