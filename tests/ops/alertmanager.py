"""A real Alertmanager with our routes and a port of ours in place of everybody who would be told."""

import json
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import yaml
from tests.ops.rules import MONITORING
from tests.reach import ask, free_port, until

FILE: Final = MONITORING / "alertmanager.yml"
CONFIG: Final[dict[str, Any]] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
RECEIVERS: Final = {one["name"]: set(one) - {"name"} for one in CONFIG["receivers"]}
WAIT_SECONDS: Final = 60.0  # what it does takes milliseconds, and on a busy machine seconds


def routes(route: Mapping[str, Any] = CONFIG["route"]) -> Iterator[Mapping[str, Any]]:
    """Every route of the tree."""
    yield route
    for child in route.get("routes", ()):
        yield from routes(child)


@dataclass(slots=True)
class Alertmanager:
    """A running server; `said` is what it posted, by path."""

    port: int
    said: list[tuple[str, str]] = field(default_factory=list)

    def told(self) -> set[tuple[str, str]]:
        """Who was given which alert, where everybody has a web hook."""
        return {
            (receiver, one["labels"]["alertname"])
            for receiver, text in list(self.said)
            for one in json.loads(text)["alerts"]
        }

    def fire(self, *alerts: Mapping[str, str]) -> None:
        status, _ = ask(self.port, "POST", "/api/v2/alerts", [{"labels": dict(one)} for one in alerts])
        assert status == HTTPStatus.OK

    def end(self, *alerts: Mapping[str, str]) -> None:
        ended = [
            {"labels": dict(one), "startsAt": "2020-01-01T00:00:00Z", "endsAt": "2020-01-01T00:00:01Z"}
            for one in alerts
        ]
        ask(self.port, "POST", "/api/v2/alerts", ended)

    def becomes(self, alert: Mapping[str, str], state: str) -> None:
        """Wait until the alert is `active` or `suppressed`, or nothing is known of it any more."""

        def so() -> bool:
            _, found = ask(self.port, "GET", "/api/v2/alerts")
            return next((one["status"]["state"] for one in found if one["labels"] == alert), "") == state

        until(f"{alert['alertname']} is {state or 'gone'}", so, seconds=WAIT_SECONDS)

    def ready(self) -> bool:
        try:
            return bool(ask(self.port, "GET", "/-/ready")[0] == HTTPStatus.OK)
        except (OSError, HTTPException):
            return False


@contextmanager
def running(folder: Path, change: Callable[[dict[str, Any], int], dict[str, Any]]) -> Iterator[Alertmanager]:
    """Our file without waiting, as `change` makes it tell a port of ours; nothing outlives the `with`."""
    alertmanager = Alertmanager(free_port())

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            alertmanager.said.append((self.path[1:], body))
            self.send_response(HTTPStatus.ACCEPTED)  # what every kind of receiver is content with
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    hook = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=hook.serve_forever, daemon=True).start()
    config = change(deepcopy(CONFIG), hook.server_port)
    for route in routes(config["route"]):
        for name in ("group_wait", "group_interval"):
            if name in route:
                route[name] = "1s"  # type: ignore[index]
    (folder / "alertmanager.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                "prometheus-alertmanager",
                f"--config.file={folder / 'alertmanager.yml'}",
                f"--storage.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{alertmanager.port}",
                "--cluster.listen-address=",
            ],
            stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            until("Alertmanager is ready", alertmanager.ready, seconds=WAIT_SECONDS)
            yield alertmanager
        finally:
            process.kill()
            process.wait(10)
            hook.shutdown()
            hook.server_close()


def hooked(config: dict[str, Any], port: int) -> dict[str, Any]:
    """Give every receiver a web hook and nothing else."""
    receivers = [
        {"name": name, "webhook_configs": [{"url": f"http://127.0.0.1:{port}/{name}"}]} for name in RECEIVERS
    ]
    return {**config, "global": {}, "receivers": receivers}


def always(config: dict[str, Any], port: int) -> dict[str, Any]:
    """The same, on a Sunday night for ever."""
    config["time_intervals"][0]["time_intervals"] = [{"months": ["1:12"]}]
    return hooked(config, port)


def unmuted(config: dict[str, Any]) -> dict[str, Any]:
    """Take the night of maintenance away: whatever day it is, it never comes."""
    config["time_intervals"][0]["time_intervals"] = [{"years": ["2001"]}]
    return config


def never(config: dict[str, Any], port: int) -> dict[str, Any]:
    """The same, where no such night ever comes."""
    return hooked(unmuted(config), port)
