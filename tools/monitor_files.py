"""
The files of monitoring/ as a local Prometheus, Alertmanager and Grafana read them: copies with what this run changes.

Addresses become those of this run, on loopback; alerts go to a mailbox on loopback unless the real receivers are wanted;
and for demonstrations and tests `times` makes every duration so many times shorter, so that a rule over an hour shows in a
minute what it would show in an hour. Numbers that an expression compares with stay what they are.
"""

import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

MONITORING: Final = Path(__file__).parent.parent / "monitoring"
RULES: Final = ("prometheus_recording_rules.yml", "slo_rules.yml", "alert_rules.yml")
LEAST_SECONDS: Final = 1.0  # no pace is faster than a look a second
LEAST_RANGE_SECONDS: Final = 5.0  # a rate needs two samples, with one lost

_UNITS: Final = {
    "ms": 0.001,
    "s": 1.0,
    "m": 60.0,
    "h": 3_600.0,
    "d": 86_400.0,
    "w": 604_800.0,
    "y": 31_536_000.0,
}
_PART: Final = re.compile(r"(\d+)(ms|[smhdwy])")
_DURATION: Final = re.compile(r"(?:\d+(?:ms|[smhdwy]))+")
_IN_BRACKETS: Final = re.compile(rf"\[({_DURATION.pattern})(?::({_DURATION.pattern})?)?\]")
_OFFSET: Final = re.compile(rf"\boffset ({_DURATION.pattern})")
_PACES: Final = {  # settings of Alertmanager and Prometheus that are durations
    "scrape_interval", "evaluation_interval", "scrape_timeout", "interval", "for", "keep_firing_for", "group_wait",
    "group_interval", "repeat_interval",
}  # fmt: skip
Document = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One local run: where everything listens on loopback, and how much faster than real it goes."""

    folder: Path
    daemon: str  # host:port
    prometheus_port: int
    alertmanager_port: int
    grafana_port: int
    mailbox_port: int
    smtp_port: int
    times: float = 1.0
    real_receivers: bool = False

    @property
    def prometheus(self) -> str:
        """Address of Prometheus."""
        return f"127.0.0.1:{self.prometheus_port}"

    @property
    def alertmanager(self) -> str:
        """Address of Alertmanager."""
        return f"127.0.0.1:{self.alertmanager_port}"

    @property
    def mailbox(self) -> str:
        """Where notifications are delivered on loopback."""
        return f"http://127.0.0.1:{self.mailbox_port}"


def write(run: Run) -> None:
    """Write all files of a run into its folder; those that are there are replaced."""
    run.folder.mkdir(parents=True, exist_ok=True)
    prometheus = faster(_read("prometheus.yml"), run.times)
    prometheus["alerting"]["alertmanagers"] = [{"static_configs": [{"targets": [run.alertmanager]}]}]
    (job,) = prometheus["scrape_configs"]
    job["static_configs"] = [{"targets": [run.daemon]}]
    _write(run.folder / "prometheus.yml", prometheus)
    for name in RULES:
        _write(run.folder / name, faster(_read(name), run.times))
    alertmanager = faster(_read("alertmanager.yml"), run.times)
    _write(
        run.folder / "alertmanager.yml", alertmanager if run.real_receivers else redirected(alertmanager, run)
    )
    _write_grafana(run)


def _write_grafana(run: Run) -> None:
    boards, there = run.folder / "dashboards", run.folder / "provisioning"
    for folder in (boards, there / "datasources", there / "dashboards"):
        folder.mkdir(parents=True, exist_ok=True)
    for board in MONITORING.glob("grafana_*_dashboard.json"):
        shutil.copyfile(board, boards / board.name)
    sources = _read("grafana/provisioning/datasources/treasuryd.yml")
    for source, address in zip(sources["datasources"], (run.prometheus, run.alertmanager), strict=True):
        source["url"] = f"http://{address}"
    sources["datasources"][0]["jsonData"]["timeInterval"] = faster({"interval": "15s"}, run.times)["interval"]
    _write(there / "datasources" / "treasuryd.yml", sources)
    providers = _read("grafana/provisioning/dashboards/treasuryd.yml")
    providers["providers"][0]["options"]["path"] = str(boards.resolve())
    _write(there / "dashboards" / "treasuryd.yml", providers)


def _read(name: str) -> Document:
    found: Document = yaml.safe_load((MONITORING / name).read_text(encoding="utf-8"))
    return found


def _write(path: Path, document: Document) -> None:
    path.write_text(
        yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=1_000), encoding="utf-8"
    )


# --- faster ------------------------------------------------------------------------------------------------------


def faster(document: Document, times: float) -> Document:
    """Give the document with every duration so many times shorter: intervals, waits, and ranges in expressions."""
    if times == 1:
        return document
    return {name: _faster_value(name, value, times) for name, value in document.items()}


def _faster_value(name: str, value: Any, times: float) -> Any:
    match value:
        case Mapping():
            return {key: _faster_value(key, inner, times) for key, inner in value.items()}
        case list():
            return [_faster_value(name, inner, times) for inner in value]
        case str() if name == "expr":
            return faster_expression(value, times)
        case str() if name in _PACES:
            return _said(seconds(value) / times, least=LEAST_SECONDS)
        case _:
            return value


def faster_expression(expr: str, times: float) -> str:
    """Shorten the ranges and offsets of a PromQL expression."""

    def range_of(found: re.Match[str]) -> str:
        step = found[2] and _said(seconds(found[2]) / times, least=LEAST_SECONDS)
        colon = ":" if ":" in found[0] else ""
        return f"[{_said(seconds(found[1]) / times, least=LEAST_RANGE_SECONDS)}{colon}{step or ''}]"

    shorter = _IN_BRACKETS.sub(range_of, expr)
    return _OFFSET.sub(
        lambda found: f"offset {_said(seconds(found[1]) / times, least=LEAST_SECONDS)}", shorter
    )


def seconds(duration: str) -> float:
    """Read a duration of Prometheus, like 1h30m."""
    return sum(int(number) * _UNITS[unit] for number, unit in _PART.findall(duration))


def _said(value: float, *, least: float) -> str:
    return f"{round(max(value, least) * 1_000)}ms"


# --- to the mailbox ----------------------------------------------------------------------------------------------

_SECRETS: Final = re.compile(r"_file$|^(?:smtp_auth_.*|auth_.*|http_config|tls_config)$")
_LOCAL: Final = "local"  # what stands where a key is asked for


def redirected(document: Document, run: Run) -> Document:
    """Send everything to the mailbox: who would have been told, and what, is all in there; nobody is woken."""
    told = {name: value for name, value in document.get("global", {}).items() if not _SECRETS.search(name)}
    told |= {
        "smtp_smarthost": f"127.0.0.1:{run.smtp_port}",
        "smtp_require_tls": False,
        "smtp_hello": "localhost",
    }
    receivers = [
        {
            kind: [_redirected(kind, one, f"{run.mailbox}/{receiver['name']}") for one in value]
            if isinstance(value, list)
            else value
            for kind, value in receiver.items()
        }
        for receiver in document["receivers"]
    ]
    return {**document, "global": told, "receivers": receivers}


def _redirected(kind: str, config: Document, url: str) -> Document:
    kept = {name: value for name, value in config.items() if not _SECRETS.search(name)}
    return {**kept, **dict(_instead(kind.removesuffix("_configs"), url))}


def _instead(kind: str, url: str) -> Iterator[tuple[str, Any]]:
    """Say where a notification of this kind goes: below the receiver's own path, so that the mailbox knows whose it is."""
    match kind:
        case "email":
            yield from (("require_tls", False),)
        case "webhook":
            yield from (("url", f"{url}/webhook"),)
        case "slack":
            yield from (("api_url", f"{url}/slack"),)
        case "pagerduty":
            yield from (("url", f"{url}/pagerduty"), ("routing_key", _LOCAL))
        case "opsgenie":
            yield from (("api_url", f"{url}/opsgenie/"), ("api_key", _LOCAL))
        case "victorops":
            yield from (("api_url", f"{url}/victorops/"), ("api_key", _LOCAL))
        case _:
            raise ValueError(f"a receiver of kind {kind!r}: say here where its notifications go instead")
