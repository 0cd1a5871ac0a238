"""The scrape configuration is valid, and finds the daemon."""

import subprocess

import yaml
from tests.ops.promtool import needs_promtool
from tests.ops.rules import ALERTING, MONITORING, RECORDING

from treasuryd.settings import Settings


@needs_promtool
def test_the_scrape_configuration_is_valid() -> None:
    """promtool reads it, and the rules that it names, which are all of ours."""
    answer = subprocess.run(
        ["promtool", "check", "config", "prometheus.yml"],
        cwd=MONITORING,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    config = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
    assert set(config["rule_files"]) == {*RECORDING, ALERTING}


def test_the_job_is_ours_and_finds_us() -> None:
    """The name of the job is part of every expression; the address is the default of the settings."""
    config = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
    (job,) = config["scrape_configs"]
    http = Settings().http
    assert job["job_name"] == "treasury-executor"
    assert job["static_configs"] == [{"targets": [f"{http.host}:{http.port}"]}]
