"""Each alert is silent while all is well and fires when it should, and no other does: Prometheus' own rule tests."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from tests.support.data import ROOT

RULES: Final = ROOT / "deploy" / "observe" / "prometheus" / "alerts.yml"

ROUTER: Final = 'job="ringkv-router", instance="r:8000"'
SHARD: Final = 'job="ringkv-shard", instance="a:7380"'
REQUESTS: Final = f"ringkv_requests_total{{{ROUTER}, result="
BUCKET: Final = f"ringkv_request_duration_seconds_bucket{{{ROUTER}, le="

WELL: Final = {
    f"up{{{ROUTER}}}": "1x120",
    f"up{{{SHARD}}}": "1x120",
    f"ringkv_ready{{{ROUTER}}}": "1x120",
    f'{REQUESTS}"found"}}': "0+15000x120",
    f'{REQUESTS}"unavailable"}}': "3x120",
    f'{REQUESTS}"refused"}}': "0x120",
    f'ringkv_shard_up{{{ROUTER}, shard="a"}}': "1x120",
    f'ringkv_shard_up{{{ROUTER}, shard="b"}}': "1x120",
    f"ringkv_topology_epoch{{{ROUTER}}}": "1x40 2x40 3x38",
    f"ringkv_kept_out_shards{{{ROUTER}}}": "0x120",
    f'ringkv_dataset_info{{{ROUTER}, dataset="one"}}': "1x120",
    f'ringkv_dataset_info{{{SHARD}, dataset="one"}}': "1x120",
    f"ringkv_shard_behind{{{SHARD}}}": "0x120",
    f"ringkv_served_serial{{{ROUTER}}}": "3x120",
    f"ringkv_offered_serial{{{ROUTER}}}": "3x120",
    f"ringkv_fetch_failing{{{SHARD}}}": "0x120",
    f"ringkv_corrupt_blocks{{{SHARD}}}": "0x120",
    f'ringkv_shard_info{{{SHARD}, shard="a"}}': "1x120",
    f'{BUCKET}"0.05"}}': "0+1000x120",
    f'{BUCKET}"0.2"}}': "0+1000x120",
    f'{BUCKET}"+Inf"}}': "0+1000x120",
    f"ringkv_event_loop_lag_seconds{{{ROUTER}}}": "0.01x120",
    f"ringkv_event_loop_lag_seconds{{{SHARD}}}": "0.01x120",
}
"""A sample every 15 s for 30 minutes, in promtool's notation."""


class Trouble(NamedTuple):
    """What is other than well from minute 15 on, and the minutes at which the alert is still silent and then fires."""

    series: dict[str, str]
    silent: str
    fires: str


TROUBLES: Final = {
    "RingkvRouterDown": Trouble({f"up{{{ROUTER}}}": "1x59 0x60"}, "15m15s", "16m"),
    "RingkvNoRouter": Trouble({f"up{{{ROUTER}}}": "1x59 stale"}, "15m", "16m"),
    "RingkvNotReady": Trouble({f"ringkv_ready{{{ROUTER}}}": "1x59 0x60"}, "15m", "16m"),
    "RingkvUnavailable": Trouble({f'{REQUESTS}"unavailable"}}': "3x59 4x60"}, "14m45s", "15m15s"),
    "RingkvShardLost": Trouble({f'ringkv_shard_up{{{ROUTER}, shard="b"}}': "1x59 0x60"}, "15m15s", "15m30s"),
    "RingkvFewerShards": Trouble({f'ringkv_shard_up{{{ROUTER}, shard="b"}}': "1x59 stale"}, "15m45s", "17m"),
    "RingkvShardFlapping": Trouble({f"ringkv_topology_epoch{{{ROUTER}}}": "1x59 1+1x60"}, "16m", "17m15s"),
    "RingkvShardDown": Trouble({f"up{{{SHARD}}}": "1x59 0x60"}, "15m45s", "16m30s"),
    "RingkvShardKeptOut": Trouble({f"ringkv_kept_out_shards{{{ROUTER}}}": "0x59 1x60"}, "15m45s", "16m30s"),
    "RingkvShardBehind": Trouble({f"ringkv_shard_behind{{{SHARD}}}": "0x59 1x60"}, "15m45s", "16m30s"),
    "RingkvStoreFailing": Trouble({f"ringkv_fetch_failing{{{SHARD}}}": "0x59 1x60"}, "19m30s", "20m30s"),
    "RingkvDatasetsDiffer": Trouble(
        {f'ringkv_dataset_info{{{SHARD}, dataset="two"}}': "_x59 1x60"}, "19m30s", "20m30s"
    ),
    "RingkvVersionHeldUp": Trouble({f"ringkv_offered_serial{{{ROUTER}}}": "3x59 4x60"}, "19m30s", "20m30s"),
    "RingkvCorruptBlock": Trouble({f"ringkv_corrupt_blocks{{{SHARD}}}": "0x59 2x60"}, "14m45s", "15m15s"),
    "RingkvSlow": Trouble({f'{BUCKET}"0.05"}}': "0+1000x59 60000+900x60"}, "19m30s", "22m"),
    "RingkvEventLoopLag": Trouble({f"ringkv_event_loop_lag_seconds{{{SHARD}}}": "0.01x59 0.5x60"}, "15m45s", "16m30s"),
}


@pytest.fixture
def firing(tool: Callable[..., str], tmp_path: Path) -> Callable[[dict[str, str], str, set[str]], None]:
    """Asserts that just these alerts fire at a moment, given these series."""

    def check(series: dict[str, str], moment: str, alerts: set[str]) -> None:
        expected = [{"labels": f'{{alertname="{alert}"}}', "value": 1} for alert in alerts]
        test = {
            "interval": "15s",
            "input_series": [{"series": name, "values": values} for name, values in series.items()],
            "promql_expr_test": [
                {
                    "expr": 'count by (alertname) (ALERTS{alertstate="firing"} == 1)',
                    "eval_time": moment,
                    "exp_samples": expected,
                }
            ],
        }
        document = {"rule_files": [str(RULES)], "evaluation_interval": "15s", "tests": [test]}
        (tmp_path / "test.yml").write_text(json.dumps(document))  # JSON is YAML too
        said = tool("promtool", "test", "rules", str(tmp_path / "test.yml"))
        assert said.split() == ["Unit", "Testing:", str(tmp_path / "test.yml"), "SUCCESS"], f"{moment}: {said}"

    return check


def test_every_alert_is_tested() -> None:
    assert re.findall(r"- alert: (\w+)", RULES.read_text()) == sorted(TROUBLES, key=RULES.read_text().index)


def test_nothing_fires_while_all_is_well(firing: Callable[..., None]) -> None:
    for moment in ("1m", "10m", "29m"):
        firing(WELL, moment, set())


@pytest.mark.parametrize("alert", TROUBLES)
def test_it_fires_when_it_should_and_nothing_else_does(firing: Callable[..., None], alert: str) -> None:
    trouble = TROUBLES[alert]
    firing(WELL | trouble.series, trouble.silent, set())
    firing(WELL | trouble.series, trouble.fires, {alert})


def test_how_many_shards_are_missing_is_told_as_a_number_of_shards(tool: Callable[..., str], tmp_path: Path) -> None:
    series = WELL | TROUBLES["RingkvFewerShards"].series
    test = {
        "interval": "15s",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "alert_rule_test": [{"eval_time": "17m", "alertname": "RingkvFewerShards", "exp_alerts": []}],
    }
    document = {"rule_files": [str(RULES)], "evaluation_interval": "15s", "tests": [test]}
    (tmp_path / "test.yml").write_text(json.dumps(document))
    # None is expected, so that promtool shows the one that fires with its annotations.
    told = tool("promtool", "test", "rules", str(tmp_path / "test.yml"))
    assert "Router r:8000 has 1 shards fewer than within" in told


def test_every_alert_says_what_to_do_and_where_that_is_told() -> None:
    for rule in RULES.read_text().split("- alert: ")[1:]:
        name = rule.split()[0]
        assert f"runbook: docs/operations.md#{name.lower()}\n" in rule
        assert "severity: critical" in rule or "severity: warning" in rule
        assert "summary: " in rule
        assert "action: " in rule
