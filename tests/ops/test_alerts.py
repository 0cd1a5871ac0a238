"""Every alert fires when it should, stays quiet when it should, and its test would notice if it did not."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.ops.promtool import Check, checks, histories, needs_promtool, run
from tests.ops.rules import ALERTING, ALERTS, MONITORING, RECORDING, RULES, Rule, groups

pytestmark = pytest.mark.timeout(600)  # each run of all histories takes eight seconds of a processor
TESTS = histories("alert_rules.test.yml")
ASKED = [answer for test in TESTS for answer in checks(test)]
NAMES = {rule.name for rule in ALERTS}
PATIENT = {rule.name for rule in ALERTS if "for" in rule.body}


def told(alerts: list[Check], *, firing: bool) -> set[str]:
    """Of the failed questions those where an alert was expected to fire, or to be quiet."""
    expected = dict(ASKED)
    return {check.alert for check in alerts if expected[check] is firing}


@needs_promtool
def test_every_alert_fires_and_is_quiet_as_its_histories_say(tmp_path: Path) -> None:
    """With labels and annotations as they are told. D35, D24: a dead executor and a flapping breaker are among them."""
    failed, said = run(tmp_path, TESTS)
    assert not said
    assert failed == []


def test_every_alert_has_a_history_that_fires_it_and_one_that_does_not() -> None:
    """No alert is without either, and none is tested that is not there."""
    assert {check.alert for check, fires in ASKED if fires} == NAMES
    assert {check.alert for check, fires in ASKED if not fires} == NAMES
    assert len(NAMES) == len(ALERTS)
    assert len({check for check, _ in ASKED}) == len(ASKED)


def test_a_quiet_history_shows_the_alert_what_it_looks_at() -> None:
    """Silence over nothing proves nothing: some raw series of the alert is in each of its tests."""
    for test in TESTS:
        shown = {re.match(r"\w+", line["series"])[0] for line in test["input_series"]}  # type: ignore[index]
        for check, _ in checks(test):
            assert shown & raw_series(check.alert), check


def raw_series(name: str) -> set[str]:
    """All exported series that an alert rests on, through what is recorded."""
    found: set[str] = set()
    open_ = [name]
    while open_:
        wanted = open_.pop()
        for rule in (*RULES, *ALERTS):
            if rule.name == wanted and rule.reading is not None:
                names = {one.name for one in rule.reading.selectors}
                found |= {one for one in names if ":" not in one}
                open_ += [one for one in names if ":" in one]
    return found


@needs_promtool
def test_an_alert_that_never_fires_is_noticed(tmp_path: Path) -> None:
    """Each alert's own test fails when its expression answers nothing."""
    failed, _ = run(tmp_path, TESTS, lambda rule: rule | {"expr": "vector(0) > 1"})
    assert told(failed, firing=True) == NAMES


@needs_promtool
def test_an_alert_that_always_fires_is_noticed(tmp_path: Path) -> None:
    """Each alert's own test fails when its expression is always true."""
    failed, _ = run(tmp_path, TESTS, lambda rule: without_patience(rule) | {"expr": "vector(1)"})
    assert told(failed, firing=False) == NAMES


@needs_promtool
def test_an_alert_that_does_not_wait_is_noticed(tmp_path: Path) -> None:
    """Each `for` is tested: without it the alert fires in a history that should not fire it."""
    failed, _ = run(tmp_path, TESTS, without_patience)
    assert told(failed, firing=False) == PATIENT


def without_patience(rule: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in rule.items() if key != "for"}


def test_the_test_file_runs_with_promtool_alone() -> None:
    """It names every rule file and the order of all groups; promtool's own order is by chance."""
    whole = yaml.safe_load((MONITORING / "alert_rules.test.yml").read_text(encoding="utf-8"))
    files = (*RECORDING, ALERTING)
    assert tuple(whole["rule_files"]) == files
    assert whole["group_eval_order"] == [group["name"] for file in files for group in groups(file)]


# --- what every alert carries -------------------------------------------------------------------------------------

TEAMS = {"general", "treasury", "energy", "storage", "sre"}  # the sixth, pager, hears of what is critical
COMPONENTS = {
    "account", "audit", "backup", "breaker", "chain", "energy", "executor", "funds", "host", "journal", "lease",
    "observer", "oracle", "payments", "receipts", "slo", "storage", "store", "system", "telemetry",
}  # fmt: skip
ORIGINAL = {
    "critical": {
        "TreasuryCircuitBreakerOpen", "TreasuryExecutorDown", "TreasuryBalanceCriticallyLow", "EnergyOracleQuorumLost",
        "EnergyDisputeBacklogCritical",
    },
    "anomaly_alerts": {"TreasuryErrorSpike", "TreasuryLagSpike", "OracleErrorSpike", "EnergyDisputeBacklogSpike"},
}  # fmt: skip


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule.name)
def test_an_alert_says_how_bad_whose_what_and_where_to_read_on(rule: Rule) -> None:
    """Labels from closed sets, four annotations, and only labels in its texts that its result carries."""
    labels, texts = rule.body["labels"], rule.body["annotations"]
    assert set(labels) == {"severity", "component", "team"}
    assert labels["severity"] in {"critical", "warning"}
    assert labels["team"] in TEAMS
    assert labels["component"] in COMPONENTS
    assert set(texts) == {"summary", "description", "impact", "runbook_url"}
    assert all(text.strip() for text in texts.values())
    assert len(texts["summary"]) <= 110
    assert rule.reading is not None
    used = {name for text in texts.values() for name in re.findall(r"\$labels\.(\w+)", text)}
    assert used <= (rule.reading.labels or frozenset()) | set(labels)


def test_the_alerts_of_the_original_are_there() -> None:
    """Five critical ones, four anomalies, and more than ten warnings."""
    severity = {rule.name: rule.body["labels"]["severity"] for rule in ALERTS}
    assert {name for name in ORIGINAL["critical"] if severity.get(name) != "critical"} == set()
    assert {rule.name for rule in ALERTS if rule.group == "anomaly_alerts"} == ORIGINAL["anomaly_alerts"]
    assert list(severity.values()).count("warning") > 10
