"""Tokens of readers and TLS where ringkv is deployed: in Compose a variable, in Kubernetes components of an overlay."""

import json
import os
from pathlib import Path
from typing import Any

import click
import pytest

from ringkv.cli import main
from tests.compose.project import docker
from tests.deploy.manifests import FOLDER, OVERLAYS, Manifests, kustomized
from tests.deploy.test_kubernetes import CUSTOM, OWN, VERSIONS, invalid
from tests.deploy.test_observe import needs
from tests.support.data import ROOT


def composed(**given: str) -> dict[str, Any]:
    """The project as Docker understands it."""
    needs("docker")
    env = {name: value for name, value in os.environ.items() if not name.startswith(("RINGKV_", "COMPOSE_", "DATA"))}
    shown = docker("compose", "--project-directory", str(ROOT), "config", "--format=json", env=env | given)
    found: dict[str, Any] = json.loads(shown)
    return found


def test_compose_hands_a_file_of_tokens_to_the_router_alone(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    found = composed(RINGKV_READ_TOKENS=str(tokens))
    (secret,) = found["services"]["router"]["secrets"]
    assert found["services"]["router"]["environment"]["RINGKV_READ_TOKEN_FILE"] == secret["target"]
    assert found["secrets"][secret["source"]]["file"] == str(tokens)
    assert "secrets" not in found["services"]["shard"]


def test_compose_lets_everybody_read_without_one() -> None:
    found = composed()
    assert found["services"]["router"]["environment"]["RINGKV_READ_TOKEN_FILE"] == ""
    assert [secret["file"] for secret in found["secrets"].values()] == ["/dev/null"]


@pytest.fixture(params=OVERLAYS)
def manifests(request: pytest.FixtureRequest, tmp_path: Path) -> Manifests:
    """An overlay with both components."""
    there = os.path.relpath(FOLDER, tmp_path)
    lines = [f"resources: [{there}/overlays/{request.param}]"]
    lines += [f"components: [{there}/components/tokens, {there}/components/tls]"]
    (tmp_path / "kustomization.yaml").write_text("\n".join(lines))
    return kustomized(tmp_path)


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_knows_every_field_of_the_components(manifests: Manifests, version: str) -> None:
    own = [document for document in manifests.documents if document["kind"] not in CUSTOM]
    assert [problem for document in own if (problem := invalid(document, version))] == []


def test_components_mount_the_files_that_ringkv_is_told(manifests: Manifests) -> None:
    for component, options in (("router", ("read_token_file", "tls_cert", "tls_key")), ("publish", ("ca",))):
        pod = manifests.pod(component)
        secrets = {volume["name"]: volume["secret"] for volume in pod.spec["volumes"] if "secret" in volume}
        mounted = {mount["mountPath"]: mount["name"] for mount in pod.container["volumeMounts"]}
        environment = manifests.environment(pod, OWN)
        command = main.get_command(click.Context(main), component)
        assert command is not None
        taken = {option.envvar: option.name for option in command.params if isinstance(option, click.Option)}
        told = {taken[name]: value for name, value in environment.items() if name in taken}
        args = manifests.command(pod, environment)
        told |= {"ca": args[args.index("--ca") + 1]} if "--ca" in args else {}
        for option in options:
            folder, _, file = str(told[option]).rpartition("/")
            secret = secrets[mounted[folder]]
            assert secret["secretName"] in {"ringkv-read-tokens", "ringkv-tls"}
            assert file in {item["path"] for item in secret.get("items", [{"path": file}])}
        assert all(probe["httpGet"]["scheme"] == "HTTPS" for probe in pod.probes.values())
    for monitor in manifests.of("ServiceMonitor"):
        (endpoint,) = monitor["spec"]["endpoints"]
        assert endpoint.get("scheme") == ("https" if monitor["metadata"]["name"] == "ringkv-router" else None)
    assert "https://ringkv-router:8000" in manifests.command(manifests.pod("publish"), environment)
