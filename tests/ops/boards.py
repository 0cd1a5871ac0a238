"""Dashboards as tests read them: their panels, and each query as it would be asked."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

MONITORING = Path(__file__).parents[2] / "monitoring"
FILES = sorted(MONITORING.glob("grafana_*_dashboard.json"))
RULE_FILES = ("prometheus_recording_rules.yml", "slo_rules.yml")
OF_PROMETHEUS = {"up", "ALERTS"}  # what Prometheus itself says

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)")
_NAME = re.compile(r"(?<![\w:$])([a-zA-Z_:][\w:]*)(?!\s*\(|[\w:])")
_WORDS = {"bool", "or", "and", "unless", "by", "without", "on", "ignoring", "offset", "inf", "nan"}


@dataclass(frozen=True)
class Asked:
    """One query of a board; `maybe`: the panel says that it is empty where the node offers nothing."""

    board: str
    panel: int
    title: str
    expr: str
    instant: bool

    def __str__(self) -> str:
        return f"{self.board} {self.panel}: {self.expr[:120]}"


def loaded(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def queries(path: Path) -> Iterator[Asked]:
    for panel in panels(loaded(path)):
        for target in panel["targets"]:
            yield Asked(path.stem, panel["id"], panel["title"], target["expr"], target["instant"])


def filled_in(expr: str, *, rate_interval: str = "1m") -> str:
    """Put values in the place of variables, as Grafana does with everything chosen."""
    return (
        expr.replace("$__rate_interval", rate_interval)
        .replace('=~"$instance"', '=~".+"')
        .replace('=~"$account"', '=~".+"')
    )


def metrics_in(expr: str) -> set[str]:
    """Every metric and rule that an expression names."""
    text = _GROUPING.sub(" ", _STRING.sub("", expr))
    text = re.sub(r"\{[^}]*\}|\[[^\]]*\]", " ", text)
    return {name for name in _NAME.findall(text) if name not in _WORDS}


def recorded() -> set[str]:
    """The names of all recording rules."""
    files = [yaml.safe_load((MONITORING / name).read_text()) for name in RULE_FILES]
    return {rule["record"] for file in files for group in file["groups"] for rule in group["rules"]}
