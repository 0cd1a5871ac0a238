"""Rules and alerts name what exists, can have a result, and lead to a page that says what to do."""

import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest
import yaml
from tests.ops.promql import Matcher, Reading, Wrong, by_name, matching, read
from tests.ops.promtool import histories, needs_promtool
from tests.ops.rules import ALERTING, ALERTS, MONITORING, RECORDING, RULES, Rule, groups, raw_labels

from treasuryd.telemetry.registry import BY_SAMPLE

pytestmark = pytest.mark.timeout(300)  # promtool takes two seconds of a processor, a busy machine minutes
NINE = {
    "treasury_aggregations", "treasury_rates", "treasury_latency", "energy_aggregations", "energy_rates",
    "energy_latency", "system_health", "capacity_and_scaling", "anomaly_detection",
}  # fmt: skip


def every(rules: list[Rule]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "rule", [pytest.param(rule, id=f"{number}-{rule.name}") for number, rule in enumerate(rules)]
    )


@needs_promtool
@pytest.mark.parametrize("file", [*RECORDING, ALERTING])
def test_promtool_reads_the_file(file: str) -> None:
    """Syntax, templates of annotations, and no rule twice."""
    answer = promtool("check", "rules", "--lint=all", "--lint-fatal", file, folder=MONITORING)
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_there_are_nine_groups_of_recording_rules() -> None:
    """As the original had them, storage and receipts among those that use them."""
    assert {group["name"] for group in groups(RECORDING[0])} == NINE
    assert all(group["interval"] in {"30s", "1m"} for file in RECORDING for group in groups(file))


@every([*RULES, *ALERTS])
def test_an_expression_can_have_a_result(rule: Rule) -> None:
    """D26: each series is declared in the registry or recorded before, and operands carry the same labels."""
    assert not rule.wrong
    assert rule.reading is not None
    assert rule.reading.selectors


@every([*RULES, *ALERTS])
def test_a_raw_series_is_that_of_our_job_and_its_labels_can_match(rule: Rule) -> None:
    """Other exporters use some of the same names; a value outside a closed set would never match."""
    assert rule.reading is not None
    for selector in rule.reading.selectors:
        if raw_labels(selector.name) is None:
            continue  # recorded: the job is in its own expression
        assert Matcher("job", "=", "treasury-executor") in selector.matchers, selector.name
        closed = values_of(selector.name)
        for matcher in selector.matchers:
            if closed.get(matcher.label):
                assert matching(matcher, closed[matcher.label]) is None, (selector.name, matcher)


def values_of(name: str) -> dict[str, tuple[str, ...]]:
    """The closed labels of a series with their values; `le` has the buckets."""
    if name not in BY_SAMPLE:
        return {}
    family = BY_SAMPLE[name]
    return {label.name: label.values for label in family.labels} | {"le": tuple(map(str, family.buckets))}


def test_each_recorded_series_has_one_meaning() -> None:
    """One name is recorded once, or with different labels each time."""
    seen = Counter((rule.name, *sorted(rule.body.get("labels", {}).items())) for rule in RULES)
    assert [name for name, times in seen.items() if times > 1] == []


def test_each_recorded_series_says_its_unit_of_time() -> None:
    """rate() is per second; what is asked per minute is multiplied."""
    for rule in RULES:
        expression = rule.body["expr"]
        if rule.name.endswith(("per_minute", "per_hour")):
            built_on = any("per_minute" in one.name for one in (rule.reading or Reading(None)).selectors)
            assert re.search(r"\* (60|3600)$", expression) or built_on, rule.name
        elif re.search(r":rate(1m|1h)$", rule.name):
            assert f"[{rule.name[-2:]}]" in expression
            assert "*" not in expression


def test_rules_that_build_upon_others_come_after_them() -> None:
    """`everything` reads in order: what is not recorded yet is unknown. Here the reader itself is looked at."""
    assert not [rule for rule in RULES if rule.wrong]
    assert len(RULES) > 90


# --- what they record ------------------------------------------------------------------------------------------------


VALUES = "prometheus_recording_rules.test.yml"


@needs_promtool
def test_every_rule_records_what_it_should() -> None:
    """Of an ordinary hour with a leader and a standby, and of hours in which something is missing."""
    answer = promtool("test", "rules", VALUES, folder=MONITORING)
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_every_rule_is_asked_for_its_value() -> None:
    """By its name and, where one name is recorded several times, by its label."""
    asked = {
        (name_of(one["expr"]), sample["labels"].partition('slo="')[2].rstrip('"}'))
        for test in histories(VALUES)
        for one in test["promql_expr_test"]
        for sample in one["exp_samples"]
    }
    assert {(rule.name, rule.body.get("labels", {}).get("slo", "")) for rule in RULES} <= asked


def name_of(expression: str) -> str:
    return expression.removeprefix("round(").removesuffix(", 0.001)")


@needs_promtool
def test_a_rule_that_records_something_else_is_noticed(tmp_path: Path) -> None:
    """One more than it should, and the test of each rule fails."""
    for file in RECORDING:
        found = groups(file)
        for group in found:
            for rule in group["rules"]:
                rule["expr"] = f"({rule['expr']}) + 1"
        (tmp_path / file).write_text(yaml.safe_dump({"groups": found}), encoding="utf-8")
    shutil.copy(MONITORING / VALUES, tmp_path)
    answer = promtool("test", "rules", VALUES, folder=tmp_path)
    said = answer.stdout + answer.stderr
    failed = {name_of(found) for found in re.findall(r'expr: "(.*)", time:', said)}
    assert failed == {rule.name for rule in RULES}


def promtool(*arguments: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["promtool", *arguments], cwd=folder, capture_output=True, text=True, check=False)


# --- the reader itself: a check that cannot fail checks nothing ---------------------------------------------------

SERIES = {
    "errors": frozenset({"job", "instance", "reason"}),
    "backlog": frozenset({"job", "instance", "status"}),
    "lag_bucket": frozenset({"job", "instance", "le"}),
    "plain": frozenset[str](),
}


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("sum(error)", "no series error"),
        ('sum(errors{typ="x"})', "no label"),
        ("sum by (dispute_type) (errors)", "the operand carries"),
        ("rate(errors[5m]) / 10 + sum(backlog)", r"\+ between"),
        ("errors and on (status) backlog", "and on"),
        ("sum(plain) or sum by (reason) (errors)", "or between"),
        ("histogram_quantile(0.95, sum(rate(lag_bucket[5m])))", "without le"),
        ("sum(1)", "over a scalar"),
        ("1 or plain", "with a scalar"),
        ("rate(1)", "of a scalar"),
        ("holt_winters(plain[5m], 1, 2)", "unknown function"),
        ("plain plain", "left over"),
        ("sum by (reason (errors)", "expected"),
        ("plain ~ 1", "cannot read"),
        ("plain + )", "did not expect"),
        ("plain{job", "expected"),
    ],
)
def test_an_expression_that_means_nothing_is_refused(expression: str, why: str) -> None:
    """The defects of the original: absent series, wrong labels, operands that never match."""
    with pytest.raises(Wrong, match=why):
        read(expression, by_name({}, SERIES.get))


@pytest.mark.parametrize(
    ("expression", "labels"),
    [
        ("time() - max(plain) > bool 60", set()),
        ("sum by (reason) (rate(errors[5m])) * 60", {"reason"}),
        ("max without (instance) (errors offset 5m)", {"job", "reason"}),
        ("sum(errors) by (reason)", None),
        ('errors and on (job) backlog{status=~"a|b"}', {"job", "instance", "reason"}),
        ("errors * on (job) backlog", {"job"}),
        ('label_replace(absent(errors{job="x"}), "metric", "a", "", "")', {"job", "metric"}),
        ("histogram_quantile(0.5, sum by (le) (rate(lag_bucket[1h:30s])))", set()),
        ("-clamp_max(errors / 2, 1)", {"job", "instance", "reason"}),
        ("topk(3, errors)", {"job", "instance", "reason"}),
        ("vector(0)", set()),
    ],
)
def test_the_labels_of_a_result_are_known(expression: str, labels: set[str] | None) -> None:
    """As Prometheus makes them; None: a form that our rules do not use."""
    if labels is None:
        with pytest.raises(Wrong):
            read(expression, by_name({}, SERIES.get))
    else:
        assert read(expression, by_name({}, SERIES.get)).labels == frozenset(labels)


def test_a_value_outside_a_closed_set_is_found() -> None:
    """Also one of several in a pattern."""
    values = ("queued", "timelocked", "300.0")
    assert matching(Matcher("status", "=", "queud"), values) == "queud"
    assert matching(Matcher("status", "=~", "queued|timelock"), values) == "timelock"
    assert matching(Matcher("le", "=~", r"300(\\.0)?"), values) is None
    assert matching(Matcher("status", "!=", "queued"), values) is None
