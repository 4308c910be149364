"""The manifests of deploy/kubernetes are valid, fit together, and ask of ringkv nothing that it does not have."""

from collections.abc import Iterator
from typing import Any, Final

import click
import kubernetes_validate
import pytest

from ringkv.cli import main
from ringkv.router.policy import DRAIN_SECONDS as ROUTER_DRAINS
from ringkv.router.policy import LINGER_MAX
from ringkv.shard.server import DRAIN_SECONDS as SHARD_DRAINS
from tests.deploy.manifests import OVERLAYS, Document, Manifests, Pod, rendered
from tests.docs.tables import rows
from tests.support.data import ROOT

VERSIONS: Final = ("1.29", "1.37")
"""Of Kubernetes: the oldest that is promised, and the newest whose schemas there are."""

CUSTOM: Final = {"ServiceMonitor"}
"""Kinds that are not of Kubernetes itself."""

TEXT: Final = (ROOT / "docs" / "kubernetes.md").read_text()

OWN: Final = {
    "RINGKV_NAME": "ringkv-shard-0",
    "RINGKV_ZONE": "",  # as before Kubernetes 1.35
    "RINGKV_SECRET": "not for everybody",
    "RINGKV_BY": "ringkv-publish-1",
}
"""What a pod is told of itself and of secrets."""


@pytest.fixture(params=OVERLAYS)
def manifests(request: pytest.FixtureRequest) -> Manifests:
    return rendered(request.param)


def invalid(document: Document, version: str) -> str:
    """What is wrong with it; empty if nothing is."""
    try:
        kubernetes_validate.validate(document, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return f"{document['kind']} {document['metadata']['name']}: {'.'.join(map(str, error.path))}: {error.message}"
    return ""


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_knows_every_field(manifests: Manifests, version: str) -> None:
    own = [document for document in manifests.documents if document["kind"] not in CUSTOM]
    assert len(own) > 15
    assert [problem for document in own if (problem := invalid(document, version))] == []


def test_a_field_that_kubernetes_does_not_know_is_found() -> None:
    (service, *_) = rendered(OVERLAYS[0]).of("Service")
    wrong = {**service, "spec": service["spec"] | {"headless": True}}
    assert "'headless' was unexpected" in invalid(wrong, VERSIONS[0])


def test_all_is_in_one_namespace_that_takes_none_but_restricted_pods(manifests: Manifests) -> None:
    (namespace,) = manifests.of("Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    others = [document for document in manifests.documents if document is not namespace]
    assert {document["metadata"]["namespace"] for document in others} == {namespace["metadata"]["name"]}


def test_pods_can_do_no_more_than_they_must(manifests: Manifests) -> None:
    for pod in manifests.pods():
        own, container = pod.spec["securityContext"], pod.container["securityContext"]
        assert own["runAsNonRoot"]
        assert own["runAsUser"] == own["runAsGroup"] == 10001  # that of deploy/Dockerfile
        assert own["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert pod.spec["automountServiceAccountToken"] is False
        assert pod.container["resources"]["limits"]["memory"]
        assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & pod.spec.keys()


def test_no_service_is_told_in_variables_that_ringkv_would_read(manifests: Manifests) -> None:
    assert [pod.spec["enableServiceLinks"] for pod in manifests.pods()] == [False] * 3


def volumes(manifests: Manifests, pod: Pod) -> Iterator[str]:
    """The names of the pod's volumes, each of which must come from something that is there."""
    for volume in pod.spec.get("volumes", []):
        if claim := volume.get("persistentVolumeClaim"):
            assert claim["claimName"] in manifests.named("PersistentVolumeClaim")
        elif settings := volume.get("configMap"):
            assert f"create configmap {settings['name']} " in TEXT
        else:
            assert {"emptyDir", "ephemeral"} & volume.keys(), volume
        yield volume["name"]


def test_what_a_pod_refers_to_is_there_or_the_document_says_how_to_make_it(manifests: Manifests) -> None:
    for pod in manifests.pods():
        assert pod.spec["serviceAccountName"] in manifests.named("ServiceAccount")
        found = {*volumes(manifests, pod), *pod.claims}
        assert {mount["name"] for mount in pod.container.get("volumeMounts", [])} == found
        for source in pod.container["envFrom"]:
            if settings := source.get("configMapRef"):
                assert settings["name"] in manifests.named("ConfigMap")
            else:
                assert source["secretRef"]["optional"]
                assert f"create secret generic {source['secretRef']['name']} " in TEXT
        for variable in pod.container["env"]:
            if secret := variable["valueFrom"].get("secretKeyRef"):
                assert f"create secret generic {secret['name']} " in TEXT
                assert f"--from-literal={secret['key']}=" in TEXT
            else:
                (field,) = variable["valueFrom"].values()
                label = "metadata.labels['topology.kubernetes.io/zone']"
                assert field["fieldPath"] == (label if variable["name"] == "RINGKV_ZONE" else "metadata.name")


def test_every_selector_finds_its_pods(manifests: Manifests) -> None:
    for kind, components in {
        "Service": {"router", "shard"},
        "PodDisruptionBudget": {"router", "shard"},
        "NetworkPolicy": {"publish", "router", "shard"},
    }.items():
        selectors = [
            spec.get("podSelector", spec.get("selector", {}))
            for spec in (document["spec"] for document in manifests.of(kind))
        ]
        found = [manifests.selected(selector.get("matchLabels", selector)) for selector in selectors]
        assert all(len(selected) == 1 for selected in found), kind
        assert set.union(*found) == components, kind
    for kind in ("StatefulSet", "Deployment"):
        for document in manifests.of(kind):
            spec = document["spec"]
            labels = spec["template"]["metadata"]["labels"]
            assert spec["selector"]["matchLabels"] == labels
            spread = spec["template"]["spec"]["topologySpreadConstraints"]
            assert [constraint["labelSelector"]["matchLabels"] for constraint in spread] == [labels] * 2
            assert [constraint["topologyKey"] for constraint in spread] == [
                "topology.kubernetes.io/zone",
                "kubernetes.io/hostname",
            ]
    (scaler,) = manifests.of("HorizontalPodAutoscaler")
    assert scaler["spec"]["scaleTargetRef"] == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "name": manifests.pod("router").owner,
    }
    assert "replicas" not in manifests.of("Deployment")[0]["spec"]
    assert "cpu" in manifests.pod("router").container["resources"]["requests"]


def test_no_two_shards_of_a_cluster_are_on_one_node() -> None:
    """A spread of at most one more than elsewhere puts two on each node where there are fewer nodes than shards."""
    shard = rendered("bucket").pod("shard")
    (term,) = shard.spec["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert term["topologyKey"] == "kubernetes.io/hostname"
    assert rendered("bucket").selected(term["labelSelector"]["matchLabels"]) == {"shard"}


def test_ports_have_one_name_and_one_number_everywhere(manifests: Manifests) -> None:
    for service in manifests.of("Service"):
        (component,) = manifests.selected(service["spec"]["selector"])
        pod = manifests.pod(component)
        assert {port["targetPort"]: port["port"] for port in service["spec"]["ports"]} == pod.ports
        assert {port["name"]: port["targetPort"] for port in service["spec"]["ports"]} == {n: n for n in pod.ports}
    for pod in manifests.pods():
        assert {probe["httpGet"]["port"] for probe in pod.probes.values()} <= {"http"}
        assert {probe["httpGet"]["path"] for probe in pod.probes.values()} <= {"/healthz", "/readyz"}
        assert len(pod.probes) == (0 if pod.component == "publish" else 3)
    (headless,) = (service for service in manifests.of("Service") if service["spec"].get("clusterIP") == "None")
    (stateful,) = manifests.of("StatefulSet")
    assert stateful["spec"]["serviceName"] == headless["metadata"]["name"]
    assert headless["spec"]["publishNotReadyAddresses"]


def test_prometheus_finds_both_ports_by_the_names_that_the_alerts_ask_for() -> None:
    manifests = rendered("bucket")
    rules = (ROOT / "deploy" / "observe" / "prometheus" / "alerts.yml").read_text()
    for monitor in manifests.of("ServiceMonitor"):
        labels = monitor["spec"]["selector"]["matchLabels"]
        (service,) = (s for s in manifests.of("Service") if labels.items() <= s["metadata"]["labels"].items())
        assert f'job="{service["metadata"]["name"]}"' in rules
        (endpoint,) = monitor["spec"]["endpoints"]
        assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
        assert endpoint["path"] == "/metrics"
    assert len(manifests.of("ServiceMonitor")) == 2


def command_of(name: str) -> click.Command:
    command = main.get_command(click.Context(main), name)
    assert command is not None
    return command


def test_ringkv_takes_every_command_and_every_variable(manifests: Manifests, monkeypatch: pytest.MonkeyPatch) -> None:
    known: set[Any] = set()
    for pod in manifests.pods():
        environment = manifests.environment(pod, OWN)
        name, *args = manifests.command(pod, environment)
        command = command_of(name)
        variables = {option.envvar for option in command.params if isinstance(option, click.Option)}
        known |= variables
        assert {variable["name"] for variable in pod.container["env"]} <= variables
        with monkeypatch.context() as patch:
            for variable, value in environment.items():
                patch.setenv(variable, value)
            given = command.make_context(name, args).params
        listening = [address for option in ("listen", "redis_listen", "http") if (address := given.get(option))]
        assert {str(address) for address in listening} == {f"0.0.0.0:{port}" for port in pod.ports.values()}
        if name == "router":
            (service,) = (s for s in manifests.of("Service") if s["spec"].get("clusterIP") == "None")
            assert given["shards"] == f"dns://{service['metadata']['name']}:{manifests.pod('shard').ports['resp']}"
            assert given["replicas"] == 2
        if name == "shard":
            assert given["leased"]
            assert given["name"] == OWN["RINGKV_NAME"]
            assert given["zone"] is None
        for path in (str(given["cache"]), environment["DATA"]) if name == "publish" else ():
            assert any(path.startswith(mount["mountPath"]) for mount in pod.container["volumeMounts"])
    told = {name for settings in manifests.of("ConfigMap") for name in settings["data"]}
    assert {name for name in told if name.startswith("RINGKV_")} <= known


def test_a_pod_has_the_time_to_leave(manifests: Manifests) -> None:
    router, shard = manifests.pod("router"), manifests.pod("shard")
    command, seconds = router.container["lifecycle"]["preStop"]["exec"]["command"]
    assert command == "sleep"
    assert int(seconds) + LINGER_MAX + ROUTER_DRAINS + 5 < router.spec["terminationGracePeriodSeconds"]
    assert shard.spec["terminationGracePeriodSeconds"] > SHARD_DRAINS + 5
    for pod in (router, shard):
        live = pod.probes["livenessProbe"]
        assert live["periodSeconds"] * live["failureThreshold"] >= 30


def test_the_document_has_every_setting_of_the_overlays() -> None:
    told = {row.pick("Setting")[0] for row in rows(TEXT) if "Setting" in row.cells}
    assert told == {name for overlay in OVERLAYS for map_ in rendered(overlay).of("ConfigMap") for name in map_["data"]}
