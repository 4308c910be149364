"""docs/operations.md names every setting, log line, metric and alert that there is, and none that there is not."""

import re
from collections import Counter
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Final

import click
import pytest
from prometheus_client.core import GaugeMetricFamily

from tests.docs import inventory
from tests.docs.inventory import Entry
from tests.docs.tables import headings, rows
from tests.support.data import EXAMPLE, ROOT
from tests.support.http import fetch
from tests.support.metrics import OPENMETRICS, Metrics
from tests.support.processes import SpawnedCluster, Spawner

TEXT: Final = (ROOT / "docs" / "operations.md").read_text()
COMPOSE: Final = (ROOT / "deploy" / "compose.yaml").read_text()
RULES: Final = (ROOT / "deploy" / "observe" / "prometheus" / "alerts.yml").read_text()

Scrapes = tuple[Metrics, Metrics]


def compare(documented: Iterable[Entry], found: Iterable[Entry], needed: Iterable[Entry] | None = None) -> list[str]:
    """What is wrong, a line each; of what is found only `needed` must be documented, if that is given."""
    documented, found = Counter(documented), set(found)
    must = found if needed is None else set(needed)
    return [
        *(f"missing: {', '.join(entry)}" for entry in sorted(must - documented.keys())),
        *(f"superfluous: {', '.join(entry)}" for entry in sorted(documented.keys() - found)),
        *(f"twice: {', '.join(entry)}" for entry, count in sorted(documented.items()) if count > 1),
    ]


def wrong_options(text: str = TEXT, commands: Iterable[click.Command] | None = None) -> list[str]:
    told = [(row.heading, *row.pick("Option", "Default", "Environment")) for row in rows(text) if "Option" in row.cells]
    return compare(told, inventory.options(commands))


def wrong_variables(text: str = TEXT, compose: str = COMPOSE) -> list[str]:
    told = [row.pick("Variable", "Default") for row in rows(text) if "Variable" in row.cells]
    return compare(told, inventory.compose_variables(compose))


def wrong_constants(text: str = TEXT) -> list[str]:
    told = [row.pick("Constant", "Value") for row in rows(text) if "Constant" in row.cells]
    found = []
    for name, _ in told:
        module, _, constant = name.rpartition(".")
        if hasattr(import_module(module), constant):
            found.append((name, str(getattr(import_module(module), constant))))
    return compare(told, found)


def wrong_log_lines(text: str = TEXT, root: Path = ROOT) -> list[str]:
    told = [row.pick("Line", "Level", "Logger") for row in rows(text) if "Line" in row.cells]
    found = list(inventory.log_lines(root))
    return compare(told, found, [line for line in found if line[1] != "info"])


def wrong_metrics(scrapes: Scrapes, text: str = TEXT) -> list[str]:
    told = [row.pick("Metric", "Type", "Labels", "From") for row in rows(text) if "Metric" in row.cells]
    router, shard = scrapes
    return compare(told, inventory.metrics(router.families.values(), shard.families.values()))


def wrong_alerts(text: str = TEXT, rules: str = RULES) -> list[str]:
    told = [heading for heading in headings(text) if heading.startswith("Ringkv")]
    links = re.findall(r"\(#([\w-]+)\)", text) + inventory.runbooks(rules)
    anchors = {heading.lower().replace(" ", "-") for heading in headings(text)}
    return [
        *compare([(name,) for name in told], [(name,) for name in inventory.alerts(rules)]),
        *(f"no heading for #{link}" for link in sorted({*links} - anchors)),
        *(f"no runbook: {name}" for name in inventory.alerts(rules) if name.lower() not in inventory.runbooks(rules)),
    ]


@pytest.fixture(scope="module")
def shard_port(module_spawn: Spawner) -> int:
    shard = module_spawn.shard(EXAMPLE, "--http", "127.0.0.1:0", "--name", "one")
    return int(shard.spawned.wait_for_line(r"answers HTTP on 127\.0\.0\.1:(\d+)")[1])


@pytest.fixture(scope="module")
def cluster(module_spawn: Spawner) -> SpawnedCluster:
    return module_spawn.up(EXAMPLE, "--shards", "1")


@pytest.fixture
async def scrapes(cluster: SpawnedCluster, shard_port: int) -> Scrapes:
    """What a router and a shard tell that run now. OpenMetrics: only there an info is more than a gauge."""
    router = await fetch(cluster.host, cluster.port, "/metrics", headers=OPENMETRICS)
    shard = await fetch("127.0.0.1", shard_port, "/metrics", headers=OPENMETRICS)
    return Metrics.parse(router), Metrics.parse(shard)


def test_every_option_is_documented_with_its_default_and_its_variable() -> None:
    assert wrong_options() == []


def test_every_variable_of_compose_is_documented_with_its_default() -> None:
    assert wrong_variables() == []


def test_the_constants_have_the_values_that_are_documented() -> None:
    assert wrong_constants() == []


def test_every_log_line_that_asks_for_action_is_documented() -> None:
    assert wrong_log_lines() == []


async def test_every_metric_is_documented(scrapes: Scrapes) -> None:
    assert wrong_metrics(scrapes) == []


def test_every_alert_and_every_link_has_its_heading() -> None:
    assert wrong_alerts() == []


def without(row: str) -> str:
    """The document without the line that begins so."""
    (line,) = re.findall(rf"(?m)^{re.escape(row)}.*\n", TEXT)
    return TEXT.replace(line, "")


def test_an_option_too_few_too_many_or_changed_is_named() -> None:
    @click.command("new")
    @click.option("--speed", default=7, envvar="RINGKV_SPEED")
    def command(speed: int) -> None:
        raise AssertionError(speed)

    entry = "ringkv new, --speed, 7, RINGKV_SPEED"
    head = "\n### ringkv new\n\n| Option | Default | Environment |\n| --- | --- | --- |\n"
    row = head + "| `--speed` | `{}` | `RINGKV_SPEED` |\n"
    assert wrong_options("", [command]) == [f"missing: {entry}"]
    assert wrong_options(row.format(7), [command]) == []
    assert wrong_options(row.format(8), [command]) == [
        f"missing: {entry}",
        "superfluous: ringkv new, --speed, 8, RINGKV_SPEED",
    ]
    assert wrong_options(TEXT + row.format(7)) == [f"superfluous: {entry}"]
    assert wrong_options(without("| `--interval`")) == ["missing: ringkv stats, --interval, 1.0, "]


def test_a_variable_too_few_too_many_or_changed_is_named() -> None:
    assert wrong_variables(without("| `RINGKV_IMAGE`")) == ["missing: RINGKV_IMAGE, ringkv"]
    assert wrong_variables(without("| `RINGKV_SECRET` | none")) == ["missing: RINGKV_SECRET, none"]
    assert wrong_variables(compose=COMPOSE.replace("MEMORY:-1g", "MEMORY:-2g")) == [
        "missing: RINGKV_SHARD_MEMORY, 2g",
        "superfluous: RINGKV_SHARD_MEMORY, 1g",
    ]
    assert wrong_variables(compose=COMPOSE + "      RINGKV_NEW:\n") == ["missing: RINGKV_NEW, none"]


def test_a_constant_that_has_changed_or_is_gone_is_named() -> None:
    changed = TEXT.replace("`router.policy.DEADLINE` | `5.0`", "`router.policy.DEADLINE` | `6.0`")
    assert wrong_constants(changed) == [
        "missing: router.policy.DEADLINE, 5.0",
        "superfluous: router.policy.DEADLINE, 6.0",
    ]
    gone = TEXT.replace("router.policy.DEADLINE", "router.policy.GONE")
    assert wrong_constants(gone) == ["superfluous: router.policy.GONE, 5.0"]


@pytest.mark.parametrize(
    ("call", "entry"),
    [
        ('log.warning("%s is odd", 1)', "%s is odd, warning, ringkv.new"),
        ('log.error("worse")', "worse, error, ringkv.new"),
        ('log.exception("worst")', "worst, error, ringkv.new"),
        ('log.critical("the end")', "the end, critical, ringkv.new"),
        ('log.log(level, "that depends")', "that depends, info or warning, ringkv.new"),
    ],
)
def test_a_log_line_that_is_not_documented_is_named(tmp_path: Path, call: str, entry: str) -> None:
    (tmp_path / "shard").mkdir()
    (tmp_path / "shard" / "new.py").write_text(
        f'log = logging.getLogger("ringkv.new")\nlog.info("all is well")\n{call}\n'
    )
    assert wrong_log_lines("", tmp_path) == [f"missing: {entry}"]


def test_a_log_line_that_nobody_can_look_up_is_named(tmp_path: Path) -> None:
    (tmp_path / "shard").mkdir()
    (tmp_path / "shard" / "new.py").write_text('log.warning(f"{name} is odd")\n')
    with pytest.raises(AssertionError, match=r"shard/new\.py:1: what is logged is no plain format string"):
        wrong_log_lines("", tmp_path)


def test_a_documented_log_line_that_is_gone_or_changed_is_named() -> None:
    assert wrong_log_lines(TEXT.replace("`a lease failed`", "`a lease fell`")) == [
        "missing: a lease failed, error, ringkv.shard",
        "superfluous: a lease fell, error, ringkv.shard",
    ]
    assert wrong_log_lines(TEXT.replace("`router stopped`", "`router ended`")) == [
        "superfluous: router ended, info, ringkv.router"
    ]


async def test_a_metric_too_few_or_too_many_is_named(scrapes: Scrapes) -> None:
    router, shard = scrapes
    new = Metrics({**shard.families, "new": GaugeMetricFamily("ringkv_new", "New.", value=1)})
    assert wrong_metrics((router, new)) == ["missing: ringkv_new, gauge, , shard"]
    fewer = Metrics({name: family for name, family in router.families.items() if name != "ringkv_ready"})
    assert wrong_metrics((fewer, shard)) == ["superfluous: ringkv_ready, gauge, , router"]
    assert wrong_metrics(scrapes, without("| `ringkv_shard_up`")) == ["missing: ringkv_shard_up, gauge, shard, router"]
    assert wrong_metrics(
        scrapes, TEXT.replace("| `ringkv_hedged_total` | counter", "| `ringkv_hedged_total` | gauge")
    ) == [
        "missing: ringkv_hedged_total, counter, , router",
        "superfluous: ringkv_hedged_total, gauge, , router",
    ]


def test_an_alert_or_a_link_without_its_heading_is_named() -> None:
    assert wrong_alerts(TEXT.replace("### RingkvSlow\n", "")) == ["missing: RingkvSlow", "no heading for #ringkvslow"]
    assert wrong_alerts(TEXT + "\n### RingkvNew\n") == ["superfluous: RingkvNew"]
    assert wrong_alerts(rules=RULES.replace("#ringkvslow", "#ringkvfast")) == [
        "no heading for #ringkvfast",
        "no runbook: RingkvSlow",
    ]


def test_what_is_documented_twice_is_named() -> None:
    assert compare([("a",), ("a",)], [("a",)]) == ["twice: a"]
