"""The very commands, variables and probes of the manifests, as processes of this machine, each at its own address.

The pods' network is a namespace whose loopback addresses stand for those of pods, and its /etc/hosts for the cluster's
name server. Volumes are folders of the test. What only a container can show, no root and nothing to write to,
tests/compose shows of the same image.
"""

import os
import shutil
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.deploy.manifests import Pod, rendered
from tests.support.data import EXAMPLE, read_pairs
from tests.support.processes import Spawned, Spawner, wait_for

SECRET: Final = "not for everybody"
ROUTER: Final = "127.0.1.1"
SHARDS: Final = ("127.0.1.11", "127.0.1.12", "127.0.1.13")
PUBLISH: Final = "127.0.1.21"

HOSTS: Final = "".join(
    ["127.0.0.1 localhost\n", f"{ROUTER} ringkv-router\n", *(f"{address} ringkv-shard\n" for address in SHARDS)]
)


class Node:
    """Runs pods of an overlay in one network."""

    def __init__(self, spawn: Spawner, folder: Path) -> None:
        self._spawn = spawn
        self._folder = folder
        self._manifests = rendered("one-node")
        (folder / "hosts").write_text(HOSTS)
        script = f"ip link set lo up; mount --bind {folder}/hosts /etc/hosts; echo up; exec sleep infinity"
        self._space = spawn.run("unshare", "--net", "--mount", "bash", "-c", script)
        self._space.wait_for_line("up", "out")

    def pod(self, component: str) -> Pod:
        return self._manifests.pod(component)

    def start(self, component: str, name: str, address: str) -> Spawned:
        """Start a pod's container: its command as it stands, but for its own address and the folders of its volumes."""
        pod = self.pod(component)
        own = {"RINGKV_NAME": name, "RINGKV_ZONE": "zone-1", "RINGKV_BY": name, "RINGKV_SECRET": SECRET}
        environment = self._manifests.environment(pod, own)
        shared = {"catalog", "data"}
        places = {
            mount["mountPath"]: self._folder / ("" if mount["name"] in shared else name) / mount["name"]
            for mount in pod.container["volumeMounts"]
            if mount["mountPath"] != "/tmp"  # where a test's processes have a folder of their own already
        }
        for place in places.values():
            place.mkdir(parents=True, exist_ok=True)

        def moved(text: str) -> str:
            for path, place in places.items():
                if text.removeprefix("file://").startswith(f"{path}/"):
                    return text.replace(path, str(place), 1)
            return text.replace("0.0.0.0:", f"{address}:")

        args = [moved(arg) for arg in self._manifests.command(pod, environment)]
        return self.run(sys.executable, "-m", "ringkv", *args, env=environment)

    def run(self, program: str, *args: str, env: dict[str, str] | None = None) -> Spawned:
        """Run a program in the pods' network."""
        namespaces = [
            f"--{kind}=/proc/{self._space.pid}/ns/{file}" for kind, file in (("net", "net"), ("mount", "mnt"))
        ]
        return self._spawn.run("nsenter", *namespaces, program, *args, env=env)

    def probed(self, component: str, address: str, probe: str) -> bool:
        """What a kubelet finds."""
        pod = self.pod(component)
        asked = pod.probes[probe]["httpGet"]
        url = f"http://{address}:{pod.ports[asked['port']]}{asked['path']}"
        return self.run("curl", "-sf", "--max-time", "5", "-o", "/dev/null", url).wait() == 0

    def values(self, keys: Path) -> bytes:
        """What the router answers to all keys of the file."""
        asked = self.run("curl", "-sf", "--data-binary", f"@{keys}", f"http://{ROUTER}:8000/mget")
        assert asked.wait() == 0, asked.err
        return (asked.folder / "out").read_bytes()


@pytest.fixture
def node(spawn: Spawner, tmp_path: Path) -> Node:
    if os.geteuid() or not all(map(shutil.which, ("unshare", "nsenter", "ip", "curl"))):
        if os.environ.get("CI") == "true":
            pytest.fail("network namespaces need root, iproute2 and curl, and CI must not skip their tests")
        pytest.skip("network namespaces need root, iproute2 and curl")
    return Node(spawn, tmp_path)


def test_the_pods_come_up_in_any_order_serve_what_is_published_and_leave_in_time(node: Node, tmp_path: Path) -> None:
    def all_are(probe: str) -> bool:
        places = [("router", ROUTER), *(("shard", address) for address in SHARDS)]
        return all(node.probed(component, address, probe) for component, address in places)

    shards = [node.start("shard", f"ringkv-shard-{n}", address) for n, address in enumerate(SHARDS)]
    router = node.start("router", "ringkv-router-1", ROUTER)
    wait_for(lambda: all_are("startupProbe"), "nobody lives")
    assert all_are("livenessProbe")
    assert not node.probed("shard", SHARDS[0], "readinessProbe")
    assert not node.probed("router", ROUTER, "readinessProbe")

    (tmp_path / "data").mkdir()
    shutil.copy(EXAMPLE, tmp_path / "data" / "example.data")
    job = node.start("publish", "ringkv-publish-1", PUBLISH)
    assert job.wait() == 0, job.err
    assert "serves version 1, by ringkv-publish-1" in job.out
    assert job.out.endswith("served: http://ringkv-router:8000\n")
    wait_for(lambda: all_are("readinessProbe"), "not all are ready")
    (tmp_path / "keys").write_bytes(b"".join(b"%b\n" % key for key, _ in read_pairs(EXAMPLE)))
    assert node.values(tmp_path / "keys") == EXAMPLE.read_bytes()

    leaving = shards[0]
    leaving.process.terminate()
    assert leaving.wait(node.pod("shard").spec["terminationGracePeriodSeconds"]) == 0
    assert node.values(tmp_path / "keys") == EXAMPLE.read_bytes()
    node.start("shard", "ringkv-shard-0", SHARDS[0]).wait_for_line(r"shard ringkv-shard-0 ready on")
    wait_for(lambda: node.probed("shard", SHARDS[0], "readinessProbe"), "it does not come back")
    router.process.terminate()
    assert router.wait(node.pod("router").spec["terminationGracePeriodSeconds"]) == 0
    assert "Traceback" not in router.err + leaving.err
