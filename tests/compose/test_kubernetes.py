"""Pods of deploy/kubernetes as containers of this engine: what they may do is what the manifests let them."""

import json
import re
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.compose.project import Project, docker
from tests.deploy.manifests import Pod, rendered
from tests.support.data import EXAMPLE
from tests.support.processes import short_directory, wait_for

pytestmark = [pytest.mark.xdist_group("compose"), pytest.mark.timeout(500)]

FS_GROUP_MODE: Final = 0o2775
"""What a kubelet gives the root of a volume, which belongs to root and the pod's fsGroup."""

READ: Final = """
import sys
from urllib.request import urlopen
print(urlopen(sys.argv[1], timeout=10).read().decode(), end="")
"""


class Node:
    """Runs pods of an overlay; `network` is that of the first, whose containers are reached at localhost."""

    def __init__(self, image: str, folder: Path) -> None:
        self._image = image
        self._folder = folder
        self._manifests = rendered("one-node")
        self.started: list[str] = []

    def pod(self, component: str) -> Pod:
        return self._manifests.pod(component)

    def run(self, component: str, *options: str) -> str:
        """`docker run` with all that the manifest says; what it prints, the container's id where it stays."""
        pod = self.pod(component)
        own, container = pod.spec["securityContext"], pod.container["securityContext"]
        environment = self._manifests.environment(
            pod,
            {"RINGKV_NAME": component, "RINGKV_ZONE": "", "RINGKV_BY": component, "RINGKV_SECRET": "not for everybody"},
        )
        flags = [
            f"--user={own['runAsUser']}:{own['runAsGroup']}",
            *(f"--group-add={own['fsGroup']}" for _ in range("fsGroup" in own)),
            *(f"--cap-drop={name}" for name in container["capabilities"]["drop"]),
            *("--read-only" for _ in range(container["readOnlyRootFilesystem"])),
            *("--security-opt=no-new-privileges" for _ in range(not container["allowPrivilegeEscalation"])),
            *("--init" for _ in range(pod.spec["shareProcessNamespace"])),
            f"--memory={pod.container['resources']['limits']['memory'].removesuffix('i').lower()}",
            *(f"--env={name}={value}" for name, value in environment.items()),
        ]
        for mount in pod.container["volumeMounts"]:
            if mount["mountPath"] == "/tmp":
                flags.append("--tmpfs=/tmp")
                continue
            place = self._folder / mount["name"]
            place.mkdir(exist_ok=True)
            shutil.chown(place, group=10001)
            place.chmod(FS_GROUP_MODE)
            flags.append(f"--volume={place}:{mount['mountPath']}{':ro' if mount.get('readOnly') else ''}")
        return docker("run", *options, *flags, self._image, *self._manifests.command(pod, environment)).strip()

    def start(self, component: str, *options: str) -> str:
        name = f"{component}-{uuid.uuid4().hex[:8]}"
        self.started.append(name)
        self.run(component, "--detach", "--name", name, *options)
        return name


@pytest.fixture
def node(project: Project) -> Iterator[Node]:
    with short_directory() as folder:
        folder.chmod(0o755)  # containers have another user than the tests
        node = Node(project.name, folder)
        (folder / "data").mkdir()
        shutil.copy(EXAMPLE, folder / "data" / "example.data")
        yield node
        for name in node.started:
            docker("rm", "--force", name)


def test_pods_publish_serve_and_leave_with_no_more_rights_than_the_manifests_give(node: Node) -> None:
    said = node.run("publish", "--rm", "--network", "none")
    assert re.search(r"published: /catalog/ringkv serves version 1, by publish at \S+$", said, re.MULTILINE)
    # One network for shard and router, as if they were one pod; the name server's part is that of --add-host.
    router = node.start("router", "--network", "bridge", "--add-host", "ringkv-shard:127.0.0.1")
    shard = node.start("shard", "--network", f"container:{router}")

    for name, component in ((shard, "shard"), (router, "router")):
        wait_until_ready(name, node.pod(component))
        status = docker("exec", name, "cat", "/proc/self/status")
        assert "CapEff:\t0000000000000000" in status
        assert "NoNewPrivs:\t1" in status
        assert "Seccomp:\t2" in status
        assert "Uid:\t10001\t" in status
    key, _, value = EXAMPLE.read_text("latin-1").partition("\n")[0].partition(" ")
    assert docker("exec", router, "python", "-c", READ, f"http://127.0.0.1:8000/{key}") == value
    program, _ = node.pod("router").container["lifecycle"]["preStop"]["exec"]["command"]
    docker("exec", router, program, "0")
    for name, component in ((shard, "shard"), (router, "router")):
        docker("stop", "--time", str(node.pod(component).spec["terminationGracePeriodSeconds"]), name)
        assert json.loads(docker("inspect", "--format", "{{json .State}}", name))["ExitCode"] == 0


def wait_until_ready(name: str, pod: Pod) -> None:
    probe = pod.probes["readinessProbe"]["httpGet"]
    url = f"http://127.0.0.1:{pod.ports[probe['port']]}{probe['path']}"
    asked = ("sh", "-c", 'python -c "$0" "$1" 2>/dev/null || true', READ, url)
    wait_for(lambda: docker("exec", name, *asked) == "ready\n", f"{name} is not ready")
