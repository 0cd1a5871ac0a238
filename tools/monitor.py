"""
A local Prometheus and Alertmanager, and Grafana where it is installed, over a running daemon: `make monitor`.

They read the files of monitoring/, as copies with the ports of this run (`monitor_files.py`), listen on loopback only, and
keep what they write in `.state/monitor/`. Alerts go to a mailbox on loopback, a file of JSON lines, instead of waking
somebody; `--real-receivers` sends them where alertmanager.yml says. `make monitor-down` ends everything. A second
`make monitor` writes the files again and has the running programs read them.
"""

import argparse
import json
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, Final

from tools import monitor_files
from tools.monitor_files import Run
from tools.processes import LOOK_SECONDS, Program

READY_SECONDS: Final = 30.0  # each program is ready within two
TARGET_SECONDS: Final = 60.0  # the first scrape comes within a scrape interval
ASK_SECONDS: Final = 5.0
UNAVAILABLE: Final = 69  # the daemon's own exit code for "nobody answers"
PACKAGES: Final = {
    "prometheus": ("prometheus",),
    "prometheus-alertmanager": ("prometheus-alertmanager", "alertmanager"),
}
GRAFANA_HOMES: Final = ("/usr/share/grafana", "/usr/local/share/grafana", "/opt/homebrew/share/grafana")
MAIL: Final = "notifications.jsonl"
HOME_BOARD: Final = "grafana_overview_dashboard"
NO_GRAFANA: Final = (
    "not installed (Debian has no package); any Grafana imports monitoring/grafana_*_dashboard.json"
)
NAMES: Final = ("grafana", "prometheus", "alertmanager", "mailbox")  # in the order in which they end


class Failed(Exception):
    """What was wanted cannot be had; the text says why and what to do."""

    def __init__(self, text: str, code: int = 1) -> None:
        super().__init__(text)
        self.code = code


def main(arguments: Sequence[str] | None = None) -> int:
    """Start or end; 0 done, 1 a program is missing or failed, 69 no daemon answers."""
    chosen = _arguments(arguments)
    folder = chosen.folder.resolve()
    if chosen.command == "down":
        return _down(folder)
    run = Run(
        folder=folder,
        daemon=chosen.daemon,
        prometheus_port=chosen.prometheus_port,
        alertmanager_port=chosen.alertmanager_port,
        grafana_port=chosen.grafana_port,
        mailbox_port=chosen.mailbox_port,
        smtp_port=chosen.smtp_port,
        times=chosen.times,
        real_receivers=chosen.real_receivers,
    )
    try:
        _up(run)
    except Failed as error:
        print(f"make monitor: {error}", file=sys.stderr)
        _down(folder)
        return error.code
    except BaseException:  # Ctrl-C while it waits, too: nothing half started stays behind
        _down(folder)
        raise
    return 0


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make monitor", description=str(__doc__).partition("\n\n")[0])
    parser.add_argument("command", choices=("up", "down"))
    parser.add_argument("--folder", type=Path, default=Path(".state/monitor"), help="what the programs write")
    parser.add_argument("--daemon", default="127.0.0.1:9477", help="host:port of treasuryd")
    parser.add_argument("--prometheus-port", type=int, default=9090)
    parser.add_argument("--alertmanager-port", type=int, default=9093)
    parser.add_argument("--grafana-port", type=int, default=3000)
    parser.add_argument("--mailbox-port", type=int, default=9095, help="where notifications are delivered")
    parser.add_argument("--smtp-port", type=int, default=9096, help="where mail is delivered")
    parser.add_argument(
        "--times", type=float, default=1.0, help="every duration so many times shorter, to see alerts soon"
    )
    parser.add_argument(
        "--real-receivers", action="store_true", help="alert the receivers of alertmanager.yml"
    )
    return parser.parse_args(arguments)


def _down(folder: Path) -> int:
    ended = [name for name in NAMES if Program(name=name, folder=folder).stop()]
    print(f"ended: {', '.join(ended)}" if ended else "nothing was running")
    return 0


def _up(run: Run) -> None:
    prometheus, alertmanager = _found("prometheus"), _found("prometheus-alertmanager")
    if _asked(run.daemon, "/metrics") is None:
        raise Failed(f"no treasuryd answers at {run.daemon}; `make run` starts one", UNAVAILABLE)
    _same_run_or_none(run)
    monitor_files.write(run)
    if not run.real_receivers:
        _started(_program("mailbox", run), _mailbox(run))
    _started(_program("alertmanager", run), _alertmanager(run, alertmanager))
    _started(_program("prometheus", run), _prometheus(run, prometheus))
    grafana = _grafana(run)
    if not run.real_receivers:
        box = f"127.0.0.1:{run.mailbox_port}"
        _wait("the mailbox is open", lambda: _asked(box, "/") is not None, _program("mailbox", run))
    _wait("Alertmanager is ready", lambda: _ready(run.alertmanager), _program("alertmanager", run))
    server = _program("prometheus", run)
    _wait("Prometheus is ready", lambda: _ready(run.prometheus), server)
    _wait("the target is up", lambda: _scraped(run), server, seconds=TARGET_SECONDS)
    _wait("Prometheus knows the Alertmanager", lambda: _introduced(run), server)
    if grafana:
        _wait(
            "Grafana is ready", lambda: _asked(grafana, "/api/health") is not None, _program("grafana", run)
        )
    _tell(run, grafana)


def _same_run_or_none(run: Run) -> None:
    """End what runs with other ports, or at another pace: it cannot change them."""
    record, wanted = run.folder / "run.json", json.dumps(asdict(run), default=str)
    if not record.exists() or record.read_text(encoding="utf-8") != wanted:
        for name in NAMES:
            _program(name, run).stop()
    run.folder.mkdir(parents=True, exist_ok=True)
    record.write_text(wanted, encoding="utf-8")


def _program(name: str, run: Run) -> Program:
    return Program(name=name, folder=run.folder)


def _found(package: str) -> str:
    """Find a program by any of its names; its Debian package is told where it is missing."""
    for name in PACKAGES[package]:
        path = shutil.which(name)
        if path is not None:
            return path
    missing = [each for each, names in PACKAGES.items() if not any(shutil.which(name) for name in names)]
    raise Failed(f"{PACKAGES[package][-1]} is not installed; on Debian: apt-get install {' '.join(missing)}")


def _started(program: Program, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
    """Start a program, or have the one that runs read its files again."""
    if program.pid is None:
        program.start(command, environment)
    else:
        program.reload()


# --- how each is started -----------------------------------------------------------------------------------------


def _mailbox(run: Run) -> list[str]:
    ports = (str(run.mailbox_port), str(run.smtp_port))
    return [sys.executable, str(Path(__file__).with_name("mailbox.py")), *ports, str(run.folder / MAIL)]


def _alertmanager(run: Run, program: str) -> list[str]:
    return [
        program,
        f"--config.file={run.folder / 'alertmanager.yml'}",
        f"--storage.path={run.folder / 'alertmanager'}",
        f"--web.listen-address={run.alertmanager}",
        "--cluster.listen-address=",  # alone: no gossip
    ]


def _prometheus(run: Run, program: str) -> list[str]:
    return [
        program,
        f"--config.file={run.folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={run.folder / 'prometheus'}",
        "--storage.tsdb.retention.time=8d",  # a panel shows seven days
        f"--web.listen-address={run.prometheus}",
    ]


def _grafana(run: Run) -> str:
    """Start Grafana where it is installed; answers its address, or nothing."""
    server, wrapper = shutil.which("grafana"), shutil.which("grafana-server")
    if server is None and wrapper is None:
        return ""
    address = f"127.0.0.1:{run.grafana_port}"
    home = next((home for home in GRAFANA_HOMES if Path(home).is_dir()), None)
    command = [server, "server"] if server is not None else [str(wrapper)]
    _started(
        _program("grafana", run),
        [*command, *(("--homepath", home) if home else ())],
        {
            "GF_SERVER_HTTP_ADDR": "127.0.0.1",
            "GF_SERVER_HTTP_PORT": str(run.grafana_port),
            "GF_PATHS_DATA": str(run.folder / "grafana"),
            "GF_PATHS_LOGS": str(run.folder / "grafana" / "log"),
            "GF_PATHS_PROVISIONING": str(run.folder / "provisioning"),
            "GF_AUTH_ANONYMOUS_ENABLED": "true",  # on loopback, to look at
            "GF_AUTH_ANONYMOUS_ORG_ROLE": "Viewer",
            "GF_ANALYTICS_REPORTING_ENABLED": "false",
            "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
            "GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES": "false",
            "GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH": str(
                run.folder / "dashboards" / f"{HOME_BOARD}.json"
            ),
        },
    )
    return address


# --- asking ------------------------------------------------------------------------------------------------------


def _asked(address: str, path: str) -> bytes | None:
    """Ask over HTTP; None where nobody answers 200."""
    host, _, port = address.rpartition(":")
    link = HTTPConnection(host, int(port), timeout=ASK_SECONDS)
    try:
        link.request("GET", path)
        answer = link.getresponse()
        said = answer.read()
    except (OSError, HTTPException):
        return None
    finally:
        link.close()
    return said if answer.status == HTTPStatus.OK else None


def _told(address: str, path: str) -> Any:
    """Ask Prometheus' API; an empty answer where there is none."""
    try:
        return json.loads(_asked(address, path) or b"")["data"]
    except (ValueError, KeyError):
        return {}


def _ready(address: str) -> bool:
    return _asked(address, "/-/ready") is not None


def _scraped(run: Run) -> bool:
    targets = _told(run.prometheus, "/api/v1/targets?state=active").get("activeTargets", [])
    return bool(targets) and all(target["health"] == "up" for target in targets)


def _introduced(run: Run) -> bool:
    return bool(_told(run.prometheus, "/api/v1/alertmanagers").get("activeAlertmanagers"))


def _wait(what: str, holds: Callable[[], bool], program: Program, *, seconds: float = READY_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while True:
        if program.pid is None:  # asked first: another program may answer at the same address
            raise Failed(f"{program.name} ended before {what}:\n{program.tail()}")
        if holds():
            return
        if time.monotonic() > deadline:
            raise Failed(f"{what}: not within {seconds:.0f} s; the end of {program.log}:\n{program.tail()}")
        time.sleep(LOOK_SECONDS)


def _tell(run: Run, grafana: str) -> None:
    print(f"watching {run.daemon}")
    print(f"  Prometheus    http://{run.prometheus}  (its pages: /alerts, /targets, /graph)")
    print(f"  Alertmanager  http://{run.alertmanager}")
    print(f"  Grafana       {f'http://{grafana}' if grafana else NO_GRAFANA}")
    box = run.folder / MAIL
    near = box.relative_to(Path.cwd()) if box.is_relative_to(Path.cwd()) else box
    mail = "whom alertmanager.yml names" if run.real_receivers else near
    print(f"  alerts go to  {mail}")
    print("`make monitor-down` ends them.")


if __name__ == "__main__":
    sys.exit(main())
