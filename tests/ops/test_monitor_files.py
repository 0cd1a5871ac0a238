"""Copies of the files of monitoring/: other addresses, another pace, other receivers, and nothing else changed."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from tools.monitor_files import MONITORING, RULES, Run, faster, faster_expression, redirected, write

TOOLS = ("promtool", "amtool")
needs_tools = pytest.mark.skipif(
    not all(shutil.which(name) for name in TOOLS) and not os.environ.get("CI"),
    reason="promtool or amtool is not installed (.ci/debian-packages)",
)


def run_in(folder: Path, **changes: Any) -> Run:
    values: dict[str, Any] = {
        "folder": folder, "daemon": "127.0.0.1:1234", "prometheus_port": 1, "alertmanager_port": 2,
        "grafana_port": 3, "mailbox_port": 4, "smtp_port": 5,
    }  # fmt: skip
    return Run(**(values | changes))


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text())
    return found


@pytest.mark.parametrize(
    ("expr", "expected"),
    [
        pytest.param("rate(x[1h])", "rate(x[60000ms])", id="a range"),
        pytest.param("rate(x[1m])", "rate(x[5000ms])", id="never too short for a rate"),
        pytest.param(
            "max_over_time(x[1h:2m])", "max_over_time(x[60000ms:2000ms])", id="a range and its step"
        ),
        pytest.param("max_over_time(x[1h:])", "max_over_time(x[60000ms:])", id="a range and no step"),
        pytest.param("x offset 1h30m", "x offset 90000ms", id="an offset of two units"),
        pytest.param('x{a=~"[1m]"} > 3600', 'x{a=~"[5000ms]"} > 3600', id="numbers stay"),
    ],
)
def test_ranges_and_offsets_become_shorter(expr: str, expected: str) -> None:
    """Sixty times faster; what an expression compares with stays."""
    assert faster_expression(expr, 60) == expected


def test_intervals_and_waits_become_shorter_and_never_less_than_a_second() -> None:
    """At every depth, by the name of the setting."""
    document = {
        "groups": [{"interval": "30s", "rules": [{"expr": "x[5m]", "for": "2m", "labels": {"a": "5m"}}]}]
    }
    (group,) = faster(document, 60)["groups"]
    assert group == {
        "interval": "1000ms",
        "rules": [{"expr": "x[5000ms]", "for": "2000ms", "labels": {"a": "5m"}}],
    }
    assert faster(document, 1) is document


def test_copies_differ_in_addresses_alone(tmp_path: Path) -> None:
    """At the real pace, to the real receivers: the same rules, the same routes."""
    write(run_in(tmp_path, real_receivers=True))
    for name in (*RULES, "alertmanager.yml"):
        assert read(tmp_path / name) == read(MONITORING / name), name
    ours, theirs = read(tmp_path / "prometheus.yml"), read(MONITORING / "prometheus.yml")
    assert ours["scrape_configs"][0].pop("static_configs") == [{"targets": ["127.0.0.1:1234"]}]
    assert ours["alerting"].pop("alertmanagers") == [{"static_configs": [{"targets": ["127.0.0.1:2"]}]}]
    theirs["scrape_configs"][0].pop("static_configs")
    theirs["alerting"].pop("alertmanagers")
    assert ours == theirs


@needs_tools
@pytest.mark.parametrize("times", [1.0, 60.0, 3_600.0])
def test_prometheus_and_alertmanager_accept_the_copies(tmp_path: Path, times: float) -> None:
    """At any pace."""
    write(run_in(tmp_path, times=times))
    for command in (["promtool", "check", "config"], ["amtool", "check-config"]):
        file = tmp_path / ("prometheus.yml" if command[0] == "promtool" else "alertmanager.yml")
        done = subprocess.run([*command, str(file)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_leaves_the_machine_unless_it_is_wanted(tmp_path: Path) -> None:
    """Every receiver of alertmanager.yml, of whatever kind, is led to the mailbox, and no secret is asked for."""
    write(run_in(tmp_path))
    text = (tmp_path / "alertmanager.yml").read_text()
    assert "_file" not in text
    assert "https://" not in text
    document = yaml.safe_load(text)
    assert document["global"]["smtp_smarthost"] == "127.0.0.1:5"
    for receiver in document["receivers"]:
        for kind, configs in receiver.items():
            for config in configs if kind.endswith("_configs") else ():
                urls = [value for name, value in config.items() if name in {"url", "api_url"}]
                led = [url for url in urls if url.startswith(f"http://127.0.0.1:4/{receiver['name']}/")]
                assert kind == "email_configs" or (led == urls and len(led) == 1), (receiver["name"], kind)


def test_a_kind_of_receiver_that_is_not_known_is_not_passed_over() -> None:
    """It would alert somebody in earnest."""
    document = {"receivers": [{"name": "x", "pushover_configs": [{"token": "t"}]}]}
    with pytest.raises(ValueError, match="pushover"):
        redirected(document, run_in(Path()))


def test_grafana_finds_the_boards_and_the_data(tmp_path: Path) -> None:
    """Provisioning names the copies, the ports of the run, and the pace at which is scraped."""
    write(run_in(tmp_path, times=15.0))
    sources = read(tmp_path / "provisioning" / "datasources" / "treasuryd.yml")["datasources"]
    assert [source["url"] for source in sources] == ["http://127.0.0.1:1", "http://127.0.0.1:2"]
    assert sources[0]["jsonData"]["timeInterval"] == "1000ms"
    (provider,) = read(tmp_path / "provisioning" / "dashboards" / "treasuryd.yml")["providers"]
    found = {path.name for path in Path(provider["options"]["path"]).iterdir()}
    assert found == {path.name for path in MONITORING.glob("grafana_*_dashboard.json")}


def test_provisioning_as_it_stands_fits_prometheus_as_it_stands() -> None:
    """Default ports, one default source, its interval the scrape interval."""
    folder = MONITORING / "grafana" / "provisioning"
    sources = read(folder / "datasources" / "treasuryd.yml")["datasources"]
    assert [source["type"] for source in sources if source.get("isDefault")] == ["prometheus"]
    prometheus = read(MONITORING / "prometheus.yml")
    assert sources[0]["jsonData"]["timeInterval"] == prometheus["global"]["scrape_interval"]
    (told,) = prometheus["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"]
    assert sources[1]["url"] == f"http://{told}"
    assert set(prometheus["rule_files"]) == set(RULES)
