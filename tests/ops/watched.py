"""
A daemon that is watched: a development chain, the daemon, payments all the while, and a real Prometheus and Alertmanager.

The monitor is started as people start it, by `tools/monitor.py`, only faster: an hour passes in half a minute.
"""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode

from tests.chaos.fleet import Program
from tests.reach import AT_ONCE, UNREACHED, ask, free_port

ROOT = Path(__file__).parents[2]
TIMES = 120  # an hour is half a minute
PAYER = "treasury"
FUNDS = 10**12
MONITOR_SECONDS = 90.0

CONFIG = """
development = true
[[accounts]]
name = "{payer}"
[[chain.endpoints]]
name = "devnet"
url = "http://127.0.0.1:{chain}"
[chain]
epoch_blocks = 5
finality_depth = 3
max_blocks_per_second = 20.0
follow_seconds = 0.2
connect_seconds = 1.0
read_seconds = 2.0
send_seconds = 2.0
slow_seconds = 1.5
resend_seconds = 1.0
max_requests_per_second = 500.0
[executor]
poll_seconds = 0.2
[breaker]
timeout_secs = 0.5
open_cap_secs = 1.0
[audit]
interval_seconds = 1.0
[observer]
enabled = true
poll_seconds = 1.0
pause_seconds = 0.0
max_age_seconds = 10.0
{at_once}"""


class Watched:
    """The whole arrangement; nothing outlives the `with`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.monitor = folder / "monitor"
        chain, daemon = free_port(), free_port()
        self.config = folder / "treasuryd.toml"
        self.config.write_text(CONFIG.format(payer=PAYER, chain=chain, at_once=AT_ONCE))
        self.chain = Program("chain", _chain(folder, chain), chain, folder / "chain.log", ready="listens on")
        command = [
            *(sys.executable, "-m", "treasuryd", "run", "--config", str(self.config)),
            *("--state-folder", str(folder / "state"), "--port", str(daemon)),
        ]
        self.daemon = Program(
            "treasuryd", command, daemon, folder / "daemon.log", ready='"treasuryd.started"'
        )
        self.prometheus, self.alertmanager = free_port(), free_port()
        self._ports = {
            "--daemon": f"127.0.0.1:{daemon}",
            "--prometheus-port": self.prometheus,
            "--alertmanager-port": self.alertmanager,
            "--grafana-port": free_port(),
            "--mailbox-port": free_port(),
            "--smtp-port": free_port(),
            "--times": TIMES,
        }
        self._over = threading.Event()
        self._traffic = threading.Thread(target=self._pay, name="traffic", daemon=True)

    def __enter__(self) -> Self:
        try:
            self.chain.started()
            self.daemon.started()
            self._traffic.start()
            self.start_monitor()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close()
        if kind is not None:
            print("\n".join(program.tail() for program in (self.chain, self.daemon)))

    def close(self) -> None:
        self._over.set()
        if self._traffic.is_alive():
            self._traffic.join(10)
        with contextlib.suppress(subprocess.SubprocessError):
            self.monitored("down")
        for program in (self.daemon, self.chain):
            if program.lives:
                program.kill()

    def start_monitor(self) -> str:
        """`make monitor`, on ports of its own and fast."""
        return self.monitored("up", *(str(word) for item in self._ports.items() for word in item))

    def monitored(self, command: str, *arguments: str) -> str:
        """Call the tool behind `make monitor` and `make monitor-down`."""
        words = [sys.executable, "-m", "tools.monitor", command, "--folder", str(self.monitor), *arguments]
        done = subprocess.run(
            words,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=MONITOR_SECONDS,
            check=False,
            env=os.environ,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    # --- what is seen ---------------------------------------------------------------------------------------

    def asked(self, expr: str, *, seconds: float) -> list[dict[str, Any]]:
        """Ask Prometheus for an expression over the last seconds, a point each second; the series with their values."""
        now = time.time()
        words = urlencode({"query": expr, "start": now - seconds, "end": now, "step": 1})
        status, said = ask(self.prometheus, "GET", f"/api/v1/query_range?{words}", seconds=10.0)
        assert status == 200, f"{expr}: {said}"
        found: list[dict[str, Any]] = said["data"]["result"]
        return found

    def alerts(self, name: str) -> bool:
        """Whether an alert fires, as Prometheus says."""
        _, said = ask(self.prometheus, "GET", "/api/v1/alerts", seconds=10.0)
        found = said["data"]["alerts"]
        return any(one["labels"]["alertname"] == name and one["state"] == "firing" for one in found)

    def notified(self) -> list[dict[str, Any]]:
        """Everything that was delivered, in order."""
        file = self.monitor / "notifications.jsonl"
        if not file.exists():
            return []
        whole = file.read_text(encoding="utf-8").rpartition("\n")[0]
        return [json.loads(line) for line in whole.splitlines()]

    def hooks(self, alert: str, status: str, since: float) -> list[dict[str, Any]]:
        """What web hooks told of an alert, from a time on."""
        return [
            told
            for one in self.notified()
            if one["way"] == "http" and one["to"].endswith("/webhook") and one["at"] >= since
            for told in one["said"]["alerts"]
            if told["labels"]["alertname"] == alert and told["status"] == status
        ]

    def mails(self, alert: str, status: str, since: float) -> list[dict[str, Any]]:
        """The mails that told this of an alert, from a time on."""
        return [
            one
            for one in self.notified()
            if one["way"] == "smtp" and one["at"] >= since
            if status.upper() in one["subject"] and alert in one["subject"] + one["said"]
        ]

    def ways(self, alert: str, since: float) -> set[str]:
        """By which ways, to whom, an alert was told from a time on: team and kind of receiver, or the address of a mail."""
        told = [one for one in self.notified() if one["at"] >= since and alert in json.dumps(one)]
        hooks = {"/".join(one["to"].split("/")[1:3]) for one in told if one["way"] == "http"}
        return hooks | {address for one in told if one["way"] == "smtp" for address in one["to"]}

    # --- payments -------------------------------------------------------------------------------------------

    def _pay(self) -> None:
        number = 0
        while not self._over.wait(0.4):
            number += 1
            item = {
                "destination": f"tb1payee{number % 7}",
                "amount": 1_000 + number,
                "memo": f"bill {number}",
            }
            with contextlib.suppress(*UNREACHED):
                ask(
                    self.daemon.port,
                    "POST",
                    "/treasury/disbursements",
                    {"items": [{**item, "scheduled_epoch": 1}]},
                    key=f"bill-{number}",
                )


def _chain(folder: Path, port: int) -> list[str]:
    return [
        *(sys.executable, "-u", "-m", "treasuryd", "devnet", "--port", str(port), "--seed", "1"),
        *("--block-interval", "0.2", "--state-folder", str(folder / "chain")),
        *("--fund", f"{PAYER}={FUNDS}"),
    ]
