import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.telemetry.conftest import FakeOffice, listening

from treasuryd.core.events import Event, EventKind
from treasuryd.settings import Settings

MONITORING = Path(__file__).parents[2] / "monitoring"
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None
    and not os.environ.get("CI"),  # in the pipeline a missing part is a failure
    reason="promtool is not installed (.ci/debian-packages)",
)
FUNCTIONS = re.compile(r"\b([a-z_][a-z0-9_]*)\s*(?=\{)")  # a name with a selector is a metric


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((MONITORING / "alert_rules.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def promtool(*arguments: str) -> None:
    answer = subprocess.run(
        ["promtool", *arguments], cwd=MONITORING, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr


@needs_promtool
def test_the_scrape_configuration_is_valid() -> None:
    """promtool reads it, and the rules that it names."""
    promtool("check", "config", "prometheus.yml")
    promtool("check", "rules", "alert_rules.yml")


@needs_promtool
def test_each_alert_fires_when_it_should_and_not_before() -> None:
    """D35, D24: a dead executor and a flapping breaker are told; histories in alert_rules.test.yml."""
    promtool("test", "rules", "alert_rules.test.yml")


def test_every_alert_has_a_history() -> None:
    """An alert without a test is a guess."""
    tests = (MONITORING / "alert_rules.test.yml").read_text()
    for rule in rules():
        series = FUNCTIONS.findall(rule["expr"])
        assert rule["alert"] in tests or all(name in tests for name in series), rule["alert"]


def test_the_job_is_ours_and_finds_us() -> None:
    """The name of the job is part of every expression; the address is the default of the settings."""
    config = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
    (job,) = config["scrape_configs"]
    http = Settings().http
    assert job["job_name"] == "treasury-executor"
    assert job["static_configs"] == [{"targets": [f"{http.host}:{http.port}"]}]


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_an_alert_selects_our_job_and_says_what_to_do(rule: dict[str, Any]) -> None:
    """Other exporters use some of the same names; a page without an action is noise."""
    names = FUNCTIONS.findall(rule["expr"])
    assert names
    assert rule["expr"].count('job="treasury-executor"') == len(names)
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert {"summary", "description", "action", "runbook"} == set(rule["annotations"])
    page = MONITORING.parent / rule["annotations"]["runbook"]
    index = page.with_name("README.md")
    assert f"`{rule['alert']}`" in page.read_text() + index.read_text()
    assert page == index or f"`{rule['alert']}`" in page.read_text(), "the page does not know its alert"


async def test_every_metric_of_an_alert_exists() -> None:
    """D26: alerts of the original watched series that were never emitted."""
    heard = listening()
    heard.telemetry.watch(FakeOffice())
    await heard.telemetry.refresh()
    heard.telemetry.saw(Event(kind=EventKind.TICKED))
    body = heard.telemetry.exposition("")[1].decode()
    exported = set(re.findall(r"^([a-z_]+)(?:\{| )", body, flags=re.MULTILINE))
    wanted = {name for rule in rules() for name in FUNCTIONS.findall(rule["expr"])} - {"up"}
    assert len(wanted) >= 10
    assert wanted - exported == set()
