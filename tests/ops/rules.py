"""The rule files as tests read them: recorded series with their labels, alerts, and what the registry declares."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from tests.ops.promql import Reading, Wrong, by_name, read

from treasuryd.telemetry.registry import BY_SAMPLE

ROOT: Final = Path(__file__).parents[2]
MONITORING: Final = ROOT / "monitoring"
RECORDING: Final = ("prometheus_recording_rules.yml", "slo_rules.yml")
ALERTING: Final = "alert_rules.yml"
TARGET: Final = frozenset({"job", "instance"})  # what Prometheus itself gives every series


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule with what its expression means; `wrong` says why it can have no result."""

    name: str
    group: str
    body: dict[str, Any]
    reading: Reading | None
    wrong: str = ""


def groups(file: str) -> list[dict[str, Any]]:
    """The groups of a rule file, as they stand."""
    found: list[dict[str, Any]] = yaml.safe_load((MONITORING / file).read_text(encoding="utf-8"))["groups"]
    return found


def raw_labels(name: str) -> frozenset[str] | None:
    """The labels of an exported series, as Prometheus stores it; None where the registry declares none."""
    if name == "up":
        return TARGET
    family = BY_SAMPLE.get(name)
    if family is None:
        return None
    own = {"le"} if name.endswith("_bucket") and family.buckets else set()
    return TARGET | set(family.label_names) | own


def everything() -> tuple[list[Rule], list[Rule]]:
    """All recording rules, in the order in which they may build upon each other, and all alerts."""
    recorded: dict[str, frozenset[str]] = {}
    rules: list[Rule] = []
    alerts: list[Rule] = []
    for file in (*RECORDING, ALERTING):
        for group in groups(file):
            for body in group["rules"]:
                name = body.get("record") or body["alert"]
                reading, wrong = None, ""
                try:
                    reading = read(body["expr"], by_name(recorded, raw_labels))
                except Wrong as error:
                    wrong = str(error)
                (rules if "record" in body else alerts).append(
                    Rule(name, group["name"], body, reading, wrong)
                )
                if "record" in body and reading is not None:
                    recorded[name] = (reading.labels or frozenset()) | set(body.get("labels", {}))
    return rules, alerts


RULES, ALERTS = everything()
"""Recording rules, and alerts."""
