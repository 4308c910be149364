"""What `kubectl apply -k` would send, and what it says of each pod, as far as tests want to know it."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.support.data import ROOT

FOLDER: Final = ROOT / "deploy" / "kubernetes"
OVERLAYS: Final = sorted(path.name for path in (FOLDER / "overlays").iterdir())

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Pod:
    """The pods of one StatefulSet, Deployment or CronJob, which have one container each."""

    owner: str
    labels: dict[str, str]
    spec: Document
    claims: frozenset[str]  # of which each pod has its own

    @property
    def container(self) -> Document:
        (container,) = self.spec["containers"]
        found: Document = container
        return found

    @property
    def component(self) -> str:
        return str(self.container["name"])

    @property
    def ports(self) -> dict[str, int]:
        return {port["name"]: port["containerPort"] for port in self.container.get("ports", [])}

    @property
    def probes(self) -> dict[str, Document]:
        return {name: probe for name, probe in self.container.items() if name.endswith("Probe")}


@dataclass(frozen=True, slots=True)
class Manifests:
    documents: tuple[Document, ...]

    def of(self, kind: str) -> list[Document]:
        return [document for document in self.documents if document["kind"] == kind]

    def named(self, kind: str) -> set[str]:
        return {document["metadata"]["name"] for document in self.of(kind)}

    def pods(self) -> list[Pod]:
        return [*self._pods("StatefulSet"), *self._pods("Deployment"), *self._pods("CronJob")]

    def pod(self, component: str) -> Pod:
        (pod,) = (pod for pod in self.pods() if pod.component == component)
        return pod

    def _pods(self, kind: str) -> Iterator[Pod]:
        for document in self.of(kind):
            spec = document["spec"]
            template = spec["jobTemplate"]["spec"]["template"] if kind == "CronJob" else spec["template"]
            claims = frozenset(claim["metadata"]["name"] for claim in spec.get("volumeClaimTemplates", []))
            yield Pod(document["metadata"]["name"], template["metadata"]["labels"], template["spec"], claims)

    def selected(self, selector: dict[str, str]) -> set[str]:
        """The components whose pods have these labels."""
        return {pod.component for pod in self.pods() if selector.items() <= pod.labels.items()}

    def environment(self, pod: Pod, own: dict[str, str]) -> dict[str, str]:
        """What the container finds: settings first, then what it is told by itself; `own` are secrets and fields."""
        found: dict[str, str] = {}
        for source in pod.container.get("envFrom", []):
            if "configMapRef" in source:
                (settings,) = (
                    document["data"]
                    for document in self.of("ConfigMap")
                    if document["metadata"]["name"] == source["configMapRef"]["name"]
                )
                found |= settings
        for variable in pod.container.get("env", []):
            found[variable["name"]] = variable.get("value") or own[variable["name"]]
        return found

    def command(self, pod: Pod, environment: dict[str, str]) -> list[str]:
        """The arguments of `ringkv`, with $(VARIABLES) as Kubernetes fills them in."""
        return [re.sub(r"\$\((\w+)\)", lambda match: environment[match[1]], arg) for arg in pod.container["args"]]


@cache
def rendered(overlay: str) -> Manifests:
    return kustomized(FOLDER / "overlays" / overlay)


def kustomized(folder: Path) -> Manifests:
    """What Kustomize makes of a folder, without a warning."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        if os.environ.get("CI") == "true":
            pytest.fail("kubectl is not installed, and CI must not skip its tests")
        pytest.skip("kubectl is not installed")
    done = subprocess.run([kubectl, "kustomize", folder], capture_output=True, check=False, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return Manifests(tuple(yaml.safe_load_all(done.stdout)))
