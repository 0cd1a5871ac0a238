"""Who hears of what: every alert reaches its team, nothing reaches nobody, and what only follows is held back."""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from tests.ops.alertmanager import (
    CONFIG,
    FILE,
    RECEIVERS,
    WAIT_SECONDS,
    always,
    hooked,
    never,
    routes,
    running,
    unmuted,
)
from tests.ops.rules import ALERTS, ROOT, Rule
from tests.reach import ask, free_port, until
from tools.monitor_files import Run, redirected

PROGRAMS: Final = ("amtool", "prometheus-alertmanager")
MISSING: Final = [name for name in PROGRAMS if shutil.which(name) is None]
needs_alertmanager = pytest.mark.skipif(
    bool(MISSING) and not os.environ.get("CI"),  # in the pipeline a missing part is a failure
    reason=f"not installed: {', '.join(MISSING)} (.ci/debian-packages)",
)
KINDS: Final = {
    "email_configs", "slack_configs", "pagerduty_configs", "webhook_configs", "opsgenie_configs", "victorops_configs",
}  # fmt: skip
NAMES: Final = {rule.name for rule in ALERTS}


def amtool(*arguments: str) -> str:
    answer = subprocess.run(["amtool", *arguments], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout.strip()


def routed(**labels: str) -> list[str]:
    """The receivers of an alert with these labels, as Alertmanager itself says."""
    words = [f"{name}={value}" for name, value in labels.items()]
    return amtool("config", "routes", "test", f"--config.file={FILE}", *words).split(",")


# --- the file -----------------------------------------------------------------------------------------------------


@needs_alertmanager
def test_alertmanager_accepts_the_file() -> None:
    """amtool reads it as the server does."""
    amtool("check-config", str(FILE))


def test_there_are_six_teams_and_six_kinds_of_receiver() -> None:
    """Each kind is used, and each team hears of something."""
    assert set(RECEIVERS) == {
        f"team-{name}" for name in ("general", "pager", "treasury", "energy", "storage", "sre")
    }
    assert set.union(*RECEIVERS.values()) == KINDS


def test_every_secret_is_a_file() -> None:
    """Alertmanager expands no variables: `${SLACK_URL}` would be sent as it stands, and a literal would be published."""
    text = FILE.read_text(encoding="utf-8")
    assert "${" not in text

    def named(value: Any) -> Iterator[tuple[str, Any]]:
        if isinstance(value, dict):
            yield from value.items()
            for inner in value.values():
                yield from named(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from named(inner)

    secret = re.compile(r"(password|token|secret|api_key|credentials|slack_api_url)(_file)?$")
    found = [(name, value) for name, value in named(CONFIG) if secret.search(name)]
    assert len(found) >= 4
    assert [name for name, _ in found if not name.endswith("_file")] == []
    assert {Path(value).parent for _, value in found} == {Path("/etc/prometheus/secrets")}
    pagers = [one for receiver in CONFIG["receivers"] for one in receiver.get("pagerduty_configs", ())]
    assert pagers
    assert all("routing_key_file" in one for one in pagers)


def test_only_alerts_that_exist_are_named() -> None:
    """D26: the original waited for `CircuitBreakerOpen`, and inhibited `DatabaseDown`."""
    matchers = [text for route in routes() for text in route.get("matchers", ())]
    for rule in CONFIG["inhibit_rules"]:
        matchers += rule["source_matchers"] + rule["target_matchers"]
    named = [found for text in matchers if (found := re.fullmatch(r'alertname=(~?)"(.+)"', text))]
    assert len(named) > 10
    for found in named:
        for word in found[2].split("|"):
            assert [name for name in NAMES if re.fullmatch(word, name)], word


def test_alerts_are_grouped_by_labels_that_they_carry() -> None:
    """The original grouped by `disbursement_id`, which no alert has; `equal` of an inhibition likewise."""
    carried = {
        "alertname",
        *(name for rule in ALERTS for name in (rule.reading.labels if rule.reading else None) or ()),
    }
    used = {name for route in routes() for name in route.get("group_by", ())}
    used |= {name for rule in CONFIG["inhibit_rules"] for name in rule.get("equal", ())}
    assert used <= carried


def test_maintenance_never_holds_back_what_is_critical() -> None:
    """Every route that is mute asks for warnings, and every warning goes through one that is."""
    mute = [route for route in routes() if "mute_time_intervals" in route]
    assert {interval["name"] for interval in CONFIG["time_intervals"]} == {"maintenance"}
    assert all(route["matchers"] == ['severity="warning"'] for route in mute)
    leaves = [route for route in routes() if "routes" not in route]
    assert {id(route) for route in mute} >= {
        id(route) for route in leaves if 'severity="warning"' in route.get("matchers", ())
    }
    assert len(mute) == 6


# --- who hears of what ----------------------------------------------------------------------------------------------


@needs_alertmanager
@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule.name)
def test_an_alert_reaches_its_team(rule: Rule) -> None:
    """The pager for what is critical, SRE for a breaker, and then the team that the alert names."""
    labels = rule.body["labels"]
    expected = [f"team-{labels['team']}"]
    if rule.name == "TreasuryCircuitBreakerOpen":
        expected.insert(0, "team-sre")
    if labels["severity"] == "critical":
        expected.insert(0, "team-pager")
    assert routed(alertname=rule.name, **labels) == expected


def test_every_team_hears_of_some_alert() -> None:
    """A team without alerts would be a dead route."""
    teams = {f"team-{rule.body['labels']['team']}" for rule in ALERTS} | {"team-pager"}
    assert teams == set(RECEIVERS)


@needs_alertmanager
@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        pytest.param({"alertname": "Unheard", "severity": "warning"}, ["team-general"], id="no team"),
        pytest.param({"alertname": "Unheard"}, ["team-general"], id="no severity either"),
        pytest.param(
            {"alertname": "Unheard", "severity": "critical", "team": "unknown"},
            ["team-pager", "team-general"],
            id="critical, of a team that is not known",
        ),
        pytest.param(
            {"alertname": "CircuitBreakerOpen", "severity": "critical", "team": "treasury"},
            ["team-pager", "team-treasury"],
            id="the name that the original waited for",
        ),
    ],
)
def test_nothing_reaches_nobody(labels: dict[str, str], expected: list[str]) -> None:
    """What is critical reaches the pager and, where no team takes it, the general one too."""
    found = routed(**labels)
    assert found == expected


# --- a real Alertmanager ----------------------------------------------------------------------------------------------


def labels_of(name: str, **more: str) -> dict[str, str]:
    (rule,) = [rule for rule in ALERTS if rule.name == name]
    return {"alertname": name, **rule.body["labels"], **more}


INHIBITED: Final = [  # by this, that is held back (True), or goes on (False)
    ("TreasuryExecutorDown", {}, "TreasuryNoActiveExecutor", {"account": "treasury"}, True),
    ("TreasuryExecutorDown", {}, "SystemHealthCritical", {}, True),
    ("TreasuryExecutorDown", {}, "TreasuryMetricMissing", {"metric": "treasury_balance"}, True),
    ("TreasuryExecutorDown", {}, "BackupStale", {"kind": "journal"}, False),
    ("TreasuryTickStale", {}, "TreasurySnapshotStale", {}, True),
    ("TreasuryCircuitBreakerOpen", {"endpoint": "a", "class": "send"}, "TreasuryHighErrorRate", {}, True),
    ("TreasuryCircuitBreakerOpen", {"endpoint": "a", "class": "send"}, "TreasuryErrorSpike", {}, True),
    ("TreasuryCircuitBreakerOpen", {"endpoint": "a", "class": "read"}, "TreasuryChainLagging", {}, True),
    ("TreasuryCircuitBreakerOpen", {"endpoint": "a", "class": "send"}, "TreasuryAccountFrozen", {"account": "a"}, False),
    ("TreasuryKillSwitch", {}, "TreasuryBacklogHigh", {}, True),
    ("TreasuryKillSwitch", {}, "TreasuryDisbursementScheduleOverdue", {}, False),
    ("TreasuryObserverFailing", {"source": "metrics"}, "EnergyStalled", {}, True),
    ("TreasuryUnexplainedMovement", {"account": "a"}, "TreasuryAccountFrozen", {"account": "a"}, True),
    ("TreasuryUnexplainedMovement", {"account": "a"}, "TreasuryAccountFrozen", {"account": "b"}, False),
    ("TreasuryDisbursementScheduleOverdue", {}, "TreasuryDisbursementLagHigh", {}, True),
    ("SystemHealthCritical", {}, "TreasuryHealthWarning", {}, True),
    ("SystemHealthDegraded", {}, "TreasuryHealthWarning", {}, False),
    ("EnergyDisputeBacklogCritical", {}, "EnergyDisputeBacklogSpike", {}, True),
    ("TreasuryBudgetBurnFast", {"slo": "treasury-queue"}, "TreasuryBudgetBurnSlow", {"slo": "treasury-queue"}, True),
    ("TreasuryBudgetBurnFast", {"slo": "treasury-queue"}, "TreasuryBudgetBurnSlow", {"slo": "treasury-errors"}, False),
]  # fmt: skip


@pytest.mark.timeout(300)
@needs_alertmanager
def test_what_follows_from_something_else_is_held_back(tmp_path: Path) -> None:
    """Each inhibition in a real Alertmanager, and beside it what must be told all the same."""
    sources = {text for rule in CONFIG["inhibit_rules"] for text in rule["source_matchers"]}
    assert len({source for source, _, _, _, held in INHIBITED if held}) == len(sources)
    with running(tmp_path, hooked) as alertmanager:
        for source, its, target, others, held in INHIBITED:
            cause, effect = labels_of(source, **its), labels_of(target, **others)
            alertmanager.fire(effect)
            alertmanager.becomes(effect, "active")
            alertmanager.fire(cause)
            alertmanager.becomes(cause, "active")
            alertmanager.becomes(effect, "suppressed" if held else "active")
            alertmanager.end(cause, effect)
            alertmanager.becomes(cause, "")
            alertmanager.becomes(effect, "")


@needs_alertmanager
def test_during_maintenance_only_what_is_critical_is_told(tmp_path: Path) -> None:
    """A warning of each team waits; each team's critical ones, and the page, do not."""
    warnings = {"TreasuryBacklogHigh", "EnergyDisputeRateHigh", "StorageRetrievalFailureRateHigh", "SystemHealthDegraded",
                "TreasuryChainCallsSlow", "ReceiptsInvalid"}  # fmt: skip
    critical = {"TreasuryAccountFrozen", "EnergyStalled", "TreasuryExecutorDown", "ReceiptsBudgetBurnFast"}
    with running(tmp_path, always) as alertmanager:
        alertmanager.fire(*(labels_of(name) for name in sorted(warnings)))
        time.sleep(2.0)  # twice what it waits for a group
        alertmanager.fire(*(labels_of(name) for name in sorted(critical)))
        expected = {("team-pager", name) for name in critical} | {
            ("team-treasury", "TreasuryAccountFrozen"), ("team-energy", "EnergyStalled"),
            ("team-sre", "TreasuryExecutorDown"), ("team-general", "ReceiptsBudgetBurnFast"),
        }  # fmt: skip
        until("everybody has heard", lambda: alertmanager.told() >= expected, seconds=WAIT_SECONDS)
        assert alertmanager.told() == expected


@needs_alertmanager
def test_outside_maintenance_warnings_are_told(tmp_path: Path) -> None:
    """The same warnings reach their teams, and no pager."""
    expected = {
        ("team-treasury", "TreasuryBacklogHigh"), ("team-energy", "EnergyDisputeRateHigh"),
        ("team-storage", "StorageRetrievalFailureRateHigh"), ("team-sre", "SystemHealthDegraded"),
        ("team-general", "ReceiptsInvalid"),
    }  # fmt: skip

    with running(tmp_path, never) as alertmanager:
        alertmanager.fire(*(labels_of(name) for _, name in sorted(expected)))
        until("everybody has heard", lambda: alertmanager.told() >= expected, seconds=WAIT_SECONDS)
        assert alertmanager.told() == expected


@needs_alertmanager
def test_every_kind_of_receiver_is_told_in_our_words(tmp_path: Path) -> None:
    """Each receiver but mail, as it stands in the file: a text that cannot be rendered is never sent."""

    def as_it_stands(config: dict[str, Any], port: int) -> dict[str, Any]:
        unused = free_port()  # mail is refused here; tests/ops/test_end_to_end.py receives it
        return redirected(
            unmuted(config),
            Run(
                folder=tmp_path,
                daemon="",
                mailbox_port=port,
                smtp_port=unused,
                prometheus_port=0,
                alertmanager_port=0,
                grafana_port=0,
            ),
        )

    names = ["TreasuryPage", "TreasuryChainCallsSlow", "EnergyStalled", "StorageRetrievalFailureRateHigh"]
    expected = {
        "team-pager/pagerduty", "team-pager/victorops", "team-treasury/slack", "team-treasury/webhook", "team-energy/slack",
        "team-storage/webhook", "team-sre/opsgenie", "team-sre/slack",
    }  # fmt: skip

    def told() -> dict[str, str]:
        return {"/".join(path.split("/")[:2]): text for path, text in list(alertmanager.said)}

    with running(tmp_path, as_it_stands) as alertmanager:
        texts = {name: {"summary": f"Summary of {name}", "impact": f"Impact of {name}"} for name in names}
        alerts = [{"labels": labels_of(name), "annotations": texts[name]} for name in names]
        ask(alertmanager.port, "POST", "/api/v2/alerts", alerts)
        until("everybody has heard", lambda: set(told()) >= expected, seconds=WAIT_SECONDS)
        assert set(told()) == expected
        assert all("Summary of" in text and "Impact of" in text for text in told().values())
        assert '"priority":"P3"' in told()["team-sre/opsgenie"]


def test_the_manual_says_where_the_secrets_are() -> None:
    """Every file that is named is explained to whoever installs it."""
    manual = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    files = set(re.findall(r"/etc/prometheus/secrets/(\w+)", FILE.read_text(encoding="utf-8")))
    assert len(files) == 6
    assert {name for name in files if f"`{name}`" not in manual} == set()
