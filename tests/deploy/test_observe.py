"""What `docker compose --profile observe up` starts: a valid project, and queries that a real Prometheus answers."""

import json
import os
import re
import shutil
import urllib.request
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any, Final

import pytest

from tests.compose.project import docker
from tests.support.data import EXAMPLE, ROOT, read_pairs
from tests.support.processes import SpawnedShard, Spawner, wait_for
from tests.support.prometheus import Prometheus

OBSERVE: Final = ROOT / "deploy" / "observe"
CONFIG: Final = OBSERVE / "prometheus" / "prometheus.yml"
ALERTS: Final = OBSERVE / "prometheus" / "alerts.yml"
DASHBOARD: Final = json.loads((OBSERVE / "grafana" / "dashboards" / "ringkv.json").read_text())

LAST_COMPARISON: Final = re.compile(r"\s(==|<|>)\s-?[\d.]+$")

Observed = tuple[Prometheus, int, list[SpawnedShard]]
"""The server, the router's port, and the shards a, b and c."""


def needs(name: str) -> None:
    if shutil.which(name) is None:
        reason = f"{name} is not installed"
        if os.environ.get("CI") == "true":
            pytest.fail(f"{reason}, and CI must not skip its tests")
        pytest.skip(reason)


def project(*profiles: str) -> dict[str, Any]:
    """The services of the Compose project as Docker understands it."""
    needs("docker")
    env = {name: value for name, value in os.environ.items() if not name.startswith(("RINGKV_", "COMPOSE_", "DATA"))}
    chosen = [f"--profile={profile}" for profile in profiles]
    found: dict[str, Any] = json.loads(docker("compose", *chosen, "config", "--format=json", env=env))["services"]
    return found


def panels() -> list[Any]:
    found: list[Any] = DASHBOARD["panels"]
    return found


def expression(text: str) -> str:
    """A panel's query as Grafana sends it."""
    return text.replace("$__rate_interval", "20s")


def raised(prometheus: Prometheus) -> dict[str, str]:
    """The alerts that something has set off, apart from those that a busy machine may."""
    rules = {rule["name"]: rule["state"] for rule in prometheus.rules() if rule["state"] != "inactive"}
    return {name: state for name, state in rules.items() if name not in {"RingkvEventLoopLag", "RingkvSlow"}}


@pytest.fixture
def observed(spawn: Spawner, tmp_path: Path) -> Observed:
    """The configuration as it stands, but for the addresses and a shorter interval, on a cluster of this machine."""
    needs("prometheus")
    shards = [spawn.shard(EXAMPLE, "--leased", "--name", name, "--http", "127.0.0.1:0") for name in "abc"]
    listens = r"127\.0\.0\.1:(\d+)"
    http = [shard.spawned.wait_for_line(f"answers HTTP on {listens}")[1] for shard in shards]
    addresses = ",".join(str(shard.address) for shard in shards)
    router = spawn("router", "--shards", addresses, "--listen", "127.0.0.1:0")
    port = router.wait_for_line(f"router listens on {listens}")[1]
    router.wait_for_line("topology 1 in .* 3 shards")
    config = re.sub(r"(scrape|evaluation)_interval: 5s", r"\1_interval: 200ms", CONFIG.read_text())
    for name, ports in (("router", [port]), ("shard", http)):
        targets = [f"127.0.0.1:{number}" for number in ports]
        there = f"static_configs: [{{targets: {json.dumps(targets)}}}]"
        config, replaced = re.subn(rf"dns_sd_configs: \[{{names: \[{name}\].*\n", f"{there}\n", config)
        assert replaced == 1
    (tmp_path / "prometheus.yml").write_text(config)
    shutil.copy(ALERTS, tmp_path)
    return Prometheus.start(spawn, tmp_path / "prometheus.yml"), int(port), shards


def test_the_project_is_valid_with_and_without_the_profile() -> None:
    assert set(project()) == {"publish", "router", "secret", "shard"}
    assert set(project("observe")) == {"publish", "router", "secret", "shard", "prometheus", "grafana"}


@pytest.mark.parametrize("name", ["prometheus", "grafana"])
def test_who_watches_may_no_more_than_who_serves(name: str) -> None:
    service = project("observe")[name]
    assert service["user"].split(":")[0] not in {"", "0", "root"}
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["mem_limit"]
    assert service["pids_limit"]
    assert {port["host_ip"] for port in service["ports"]} == {"127.0.0.1"}
    assert re.fullmatch(r"[a-z]+/[a-z]+:v?\d+\.\d+\.\d+", service["image"])
    for volume in service["volumes"]:
        if volume["type"] == "bind":
            assert volume["read_only"]
            assert Path(volume["source"]).is_dir()


def test_the_addresses_are_those_of_the_project() -> None:
    services = project("observe")
    command = services["shard"]["command"]
    listens = {
        "router": services["router"]["environment"]["RINGKV_LISTEN"],
        "shard": command[command.index("--http") + 1],
    }
    for name, address in listens.items():
        port = address.removeprefix("0.0.0.0:")
        assert f"dns_sd_configs: [{{names: [{name}], type: A, port: {port}," in CONFIG.read_text()
        assert "shards" in services[name]["networks"]
    # On a second network of the routers each of them would be found twice.
    assert set(services["prometheus"]["networks"]) & set(services["router"]["networks"]) == {"shards"}
    source = (OBSERVE / "grafana" / "provisioning" / "datasources" / "prometheus.yaml").read_text()
    assert "url: http://prometheus:9090\n" in source
    assert set(services["prometheus"]["networks"]) & set(services["grafana"]["networks"]) == {"observe"}


def test_grafana_finds_what_is_provisioned() -> None:
    targets = {volume["target"]: Path(volume["source"]) for volume in project("observe")["grafana"]["volumes"]}
    provider = (targets["/etc/grafana/provisioning"] / "dashboards" / "ringkv.yaml").read_text()
    assert "options: {path: /etc/grafana/dashboards}" in provider
    home = project("observe")["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (targets["/etc/grafana/dashboards"] / Path(home).name).is_file()
    source = (targets["/etc/grafana/provisioning"] / "datasources" / "prometheus.yaml").read_text()
    uids = {panel["datasource"]["uid"] for panel in panels()}
    uids |= {target["datasource"]["uid"] for panel in panels() for target in panel["targets"]}
    uids |= {annotation["datasource"]["uid"] for annotation in DASHBOARD["annotations"]["list"]}
    assert re.findall(r"uid: (\S+)", source) == list(uids)


def test_the_dashboard_is_one_screen_without_overlaps() -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in panels():
        at = panel["gridPos"]
        for cell in ((x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])):
            assert taken.setdefault(cell, panel["title"]) == panel["title"]
    assert max(x for x, _ in taken) < 24
    assert max(y for _, y in taken) < 28
    assert len({panel["id"] for panel in panels()}) == len({panel["title"] for panel in panels()}) == len(panels())


def test_promtool_accepts_configuration_and_rules(tool: Callable[..., str]) -> None:
    assert "SUCCESS: 1 rule files found" in tool("promtool", "check", "config", "--lint=all", str(CONFIG))
    assert re.search(r"SUCCESS: \d+ rules found", tool("promtool", "check", "rules", "--lint=all", str(ALERTS)))


def test_a_real_prometheus_answers_every_query_of_dashboard_and_alerts(observed: Observed) -> None:
    prometheus, port, _ = observed
    wait_for(lambda: {target["health"] for target in prometheus.targets()} == {"up"})
    jobs = sorted(target["labels"]["job"] for target in prometheus.targets())
    assert jobs == ["ringkv-router", *["ringkv-shard"] * 3]
    # Before the first scrape there is no router to be seen.
    wait_for(lambda: {rule["health"] for rule in prometheus.rules()} == {"ok"} and not raised(prometheus))
    queries = {rule["query"] for rule in prometheus.rules() if rule["name"] != "RingkvNoRouter"}
    assert not prometheus.query("absent(up)")
    queries |= {annotation["expr"] for annotation in DASHBOARD["annotations"]["list"]}
    # Without its comparison a query that finds nothing wrong shows what it looks at.
    wanted = {LAST_COMPARISON.sub("", query): set[str]() for query in queries}
    for target in (target for panel in panels() for target in panel["targets"]):
        wanted[expression(target["expr"])] = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
    assert len(wanted) > 40

    keys = [key.decode() for key, _ in islice(read_pairs(EXAMPLE), 30)]

    def all_answered() -> bool:
        for key in keys:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/{key}", timeout=20).close()
        for query, labels in list(wanted.items()):
            found = prometheus.query(query)
            if found and all(labels <= series["metric"].keys() and series["value"][1] != "NaN" for series in found):
                del wanted[query]
        return not wanted

    try:
        wait_for(all_answered)
    finally:
        assert not wanted


def test_a_shard_that_is_killed_raises_the_alarm(observed: Observed) -> None:
    prometheus, _, shards = observed
    wait_for(lambda: prometheus.query("max_over_time(sum(ringkv_shard_up)[15m:5s]) == 3"))
    shards[1].spawned.process.kill()

    # They would fire after half a minute or more.
    expected = {"RingkvShardLost": "pending", "RingkvFewerShards": "pending", "RingkvShardDown": "pending"}
    wait_for(lambda: raised(prometheus) == expected, "the alerts do not come")
    (lost,) = prometheus.query("ringkv_shard_up == 0")
    assert lost["metric"]["shard"] == "b"
