"""
Runs the unit tests of rules with promtool, each against the rules that it needs and no others.

`promtool test rules monitoring/alert_rules.test.yml` does the same with all rules in every test, and takes minutes:
rules do not influence each other, so that a test of one alert needs that alert and what it is recorded from.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from tests.ops.rules import ALERTING, ALERTS, MONITORING, RECORDING, RULES, Rule, groups

needs_promtool: Final = pytest.mark.skipif(
    shutil.which("promtool") is None
    and not os.environ.get("CI"),  # in the pipeline a missing part is a failure
    reason="promtool is not installed (.ci/debian-packages)",
)
Change = Callable[[dict[str, Any]], dict[str, Any]]
MINUTE_SECONDS: Final = {"h": 3600, "m": 60, "s": 1}


@dataclass(frozen=True, slots=True, order=True)
class Check:
    """One question of a test: does this alert fire at this second?"""

    test: str
    alert: str
    second: int


def histories(file: str) -> list[dict[str, Any]]:
    """The tests of a file, as they stand."""
    found: list[dict[str, Any]] = yaml.safe_load((MONITORING / file).read_text(encoding="utf-8"))["tests"]
    return found


def checks(test: Mapping[str, Any]) -> list[tuple[Check, bool]]:
    """What a test asks about alerts, and whether it expects each to fire."""
    return [
        (Check(test["name"], one["alertname"], seconds(one["eval_time"])), bool(one.get("exp_alerts")))
        for one in test.get("alert_rule_test", ())
    ]


def seconds(duration: str) -> int:
    """Read promtool's way of writing a time."""
    return sum(int(number) * MINUTE_SECONDS[unit] for number, unit in re.findall(r"(\d+)([hms])", duration))


def run(
    folder: Path, tests: Iterable[Mapping[str, Any]], change: Change = lambda rule: rule
) -> tuple[list[Check], str]:
    """
    Run tests against the rules as they are, or as `change` makes the alerts.

    Returns: the questions about alerts that were answered otherwise than expected, and all that promtool said.
    """
    files = [_sliced(folder, number, test, change) for number, test in enumerate(tests)]
    answer = subprocess.run(
        ["promtool", "test", "rules", *files], cwd=folder, capture_output=True, text=True, check=False
    )
    said = answer.stdout + answer.stderr
    assert said.count("Unit Testing:") == len(files), said
    return sorted(_failures(said)), said if answer.returncode else ""


def _failures(said: str) -> Iterable[Check]:
    test = ""
    for line in said.splitlines():
        if named := re.match(r"\s+name: (.*),$", line):
            test = named[1]
        elif asked := re.match(r"\s+alertname: ?(\w+), time: (\w+),", line):
            yield Check(test, asked[1], seconds(asked[2]))


def _sliced(folder: Path, number: int, test: Mapping[str, Any], change: Change) -> str:
    """Write one test and its rules; the name of the file for promtool."""
    wanted = _needed(test)
    found = []
    for file in (*RECORDING, ALERTING):
        for group in groups(file):
            rules = [
                change(rule) if "alert" in rule else rule for rule in group["rules"] if _name(rule) in wanted
            ]
            if rules:
                found.append({"name": group["name"], "rules": rules})
    (folder / f"{number}.rules.yml").write_text(yaml.safe_dump({"groups": found}), encoding="utf-8")
    whole = {
        "rule_files": [f"{number}.rules.yml"],
        "evaluation_interval": "1m",
        "group_eval_order": [group["name"] for group in found],
        "tests": [dict(test)],
    }
    file = f"{number}.test.yml"
    (folder / file).write_text(yaml.safe_dump(whole, sort_keys=False), encoding="utf-8")
    return file


def _name(rule: Mapping[str, Any]) -> str:
    return str(rule.get("record") or rule["alert"])


def _needed(test: Mapping[str, Any]) -> set[str]:
    """The alerts and recorded series that a test asks for, and what these are made of."""
    asked = {one["alertname"] for one in test.get("alert_rule_test", ())}
    asked |= {
        name for one in test.get("promql_expr_test", ()) for name in re.findall(r"\w+(?::\w+)+", one["expr"])
    }
    known: dict[str, list[Rule]] = {}
    for rule in (*RULES, *ALERTS):
        known.setdefault(rule.name, []).append(rule)
    open_ = list(asked)
    while open_:
        for rule in known.get(open_.pop(), ()):
            assert rule.reading is not None, rule.wrong
            new = {one.name for one in rule.reading.selectors if one.name in known} - asked
            asked |= new
            open_ += new
    return asked
