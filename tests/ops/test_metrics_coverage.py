"""The coverage check as an operator runs it: a real daemon that pays and observes, the shell script, nothing absent."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.chaos.fleet import Program
from tests.reach import AT_ONCE, ask, free_port

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "monitoring" / "verify_metrics_coverage.sh"
CONFIG = """
development = true
state_folder = "{folder}/state"
[[accounts]]
name = "treasury"
[chain]
epoch_blocks = 10
finality_depth = 3
max_blocks_per_second = 50.0
follow_seconds = 0.2
[executor]
poll_seconds = 0.2
[http]
port = {port}
[devnet]
enabled = true
block_interval_seconds = 0.1
[observer]
enabled = true
poll_seconds = 1.0
pause_seconds = 0.05
{at_once}"""
PATIENCE_SECONDS = 60.0


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Program]:
    port = free_port()
    config = tmp_path / "treasuryd.toml"
    config.write_text(CONFIG.format(folder=tmp_path, port=port, at_once=AT_ONCE))
    program = Program(
        "treasuryd",
        [sys.executable, "-m", "treasuryd", "run", "--config", str(config)],
        port,
        tmp_path / "log",
        ready='"treasuryd.started"',
    )
    program.started()
    yield program
    program.kill()


def checked(port: int, program: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["sh", SCRIPT, f"http://127.0.0.1:{port}"],
        env={"PATH": "/usr/bin:/bin", "TREASURYD": str(program)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_running_daemon_exports_everything_that_watches_it(daemon: Program, tmp_path: Path) -> None:
    """With payments under way and the observer on, nothing that rules, alerts and dashboards name is missing or absent."""
    program = tmp_path / "treasuryd"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT / "daemon"} exec {sys.executable} -m treasuryd "$@"\n')
    program.chmod(0o755)
    item = {"destination": "tb1coverage", "amount": 1_000, "memo": "m", "scheduled_epoch": 1}
    ask(daemon.port, "POST", "/treasury/disbursements", {"items": [item]})
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        answer = checked(daemon.port, program)
        # what is absent until the observer's first round, or the first tick, comes soon
        if (answer.returncode == 0 and ": absent" not in answer.stdout) or time.monotonic() > deadline:
            break
        time.sleep(1.0)
    assert answer.returncode == 0, answer.stderr
    assert ": absent" not in answer.stdout
    assert answer.stdout.strip().endswith(", 0 wrong.")
