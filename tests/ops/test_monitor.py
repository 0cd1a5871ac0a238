"""`make monitor` says what is missing, ends what it started, and touches no process that is not its own."""

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.reach import free_port, until
from tools import monitor
from tools.mailbox import Hooks
from tools.monitor_files import Run
from tools.processes import Program

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)",
]


def program_in(folder: Path, name: str, text: str) -> None:
    file = folder / name
    file.write_text(f"#!{sys.executable}\n{text}")
    file.chmod(0o755)


def test_missing_packages_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By their Debian names, all at once, before anything is started."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert monitor.main(["up", "--folder", str(tmp_path / "monitor")]) == 1
    assert "apt-get install prometheus prometheus-alertmanager" in capsys.readouterr().err
    program_in(tmp_path, "prometheus", "")
    assert monitor.main(["up", "--folder", str(tmp_path / "monitor")]) == 1
    assert "apt-get install prometheus-alertmanager\n" in capsys.readouterr().err


def test_without_a_daemon_nothing_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 69, as of every command that reaches no daemon."""
    for name in ("prometheus", "alertmanager"):  # the name that other systems use
        program_in(tmp_path, name, "")
    monkeypatch.setenv("PATH", str(tmp_path))
    code = monitor.main(["up", "--folder", str(tmp_path / "m"), "--daemon", f"127.0.0.1:{free_port()}"])
    assert code == 69
    assert "`make run` starts one" in capsys.readouterr().err
    assert not (tmp_path / "m").exists()


def test_a_program_that_ends_at_once_is_told_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And what was started before it is ended."""
    program_in(tmp_path, "prometheus", "import time; time.sleep(60)")
    program_in(tmp_path, "prometheus-alertmanager", "print('the address is taken')")
    monkeypatch.setenv("PATH", str(tmp_path))
    with answering() as daemon:
        code = monitor.main(["up", "--folder", str(tmp_path / "m"), "--daemon", daemon, *free_ports()])
    assert code == 1
    assert "the address is taken" in capsys.readouterr().err
    assert list((tmp_path / "m").glob("*.pid")) == []


@contextlib.contextmanager
def answering() -> Iterator[str]:
    """Somebody who answers every question with 200, as a daemon its scrape."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hooks)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    with server:
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join(10)


def free_ports() -> list[str]:
    names = ("prometheus", "alertmanager", "grafana", "mailbox", "smtp")
    return [word for name in names for word in (f"--{name}-port", str(free_port()))]


def test_a_program_goes_on_and_is_ended_by_its_pid_file(tmp_path: Path) -> None:
    """Another command, later, finds it by the file."""
    Program(name="sleeper", folder=tmp_path).start(SLEEP)
    again = Program(name="sleeper", folder=tmp_path)
    assert again.pid
    assert again.stop()
    assert not Program(name="sleeper", folder=tmp_path).pid
    assert not again.stop()


def test_one_that_does_not_listen_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the time for a clean end."""
    monkeypatch.setattr("tools.processes.END_SECONDS", 0.3)
    deaf = Program(name="deaf", folder=tmp_path)
    deaf.start(STUBBORN)
    until("it is deaf", lambda: "deaf" in deaf.tail(), seconds=20)
    assert deaf.stop()
    assert deaf.pid is None


def test_a_process_that_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    """A pid is used again after a while: when the process began decides whose it is."""
    stranger = subprocess.Popen(SLEEP, stdin=subprocess.DEVNULL)
    try:
        (tmp_path / "old.pid").write_text(json.dumps({"pid": stranger.pid, "began": "long ago"}))
        assert not Program(name="old", folder=tmp_path).stop()
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait(10)


@pytest.mark.parametrize("text", ["", "{", '{"pid": "x"}', '{"pid": 1}', "[]"])
def test_a_pid_file_that_says_nothing_is_no_process(tmp_path: Path, text: str) -> None:
    """A torn file ends nobody."""
    (tmp_path / "torn.pid").write_text(text)
    assert Program(name="torn", folder=tmp_path).pid is None


def test_grafana_is_started_where_it_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On loopback, with our provisioning; a stand-in says what it was started with."""
    said = tmp_path / "said.json"
    text = f"import json, os, sys\njson.dump([sys.argv[1:], dict(os.environ)], open({str(said)!r}, 'w'))\n"
    program_in(tmp_path, "grafana", text)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    run = Run(
        folder=tmp_path / "m", daemon="", prometheus_port=1, alertmanager_port=2, grafana_port=3, mailbox_port=4,
        smtp_port=5,
    )  # fmt: skip
    assert monitor._grafana(run) == "127.0.0.1:3"
    until("it was started", lambda: said.exists() and said.read_text().endswith("]"), seconds=20)
    words, environment = json.loads(said.read_text())
    assert words[0] == "server"
    assert environment["GF_SERVER_HTTP_ADDR"] == "127.0.0.1"
    assert environment["GF_SERVER_HTTP_PORT"] == "3"
    assert environment["GF_PATHS_PROVISIONING"] == str(tmp_path / "m" / "provisioning")
    assert environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"].endswith(
        "grafana_overview_dashboard.json"
    )


def test_without_grafana_nothing_of_it_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prometheus' own pages answer every query."""
    monkeypatch.setenv("PATH", str(tmp_path))
    run = Run(
        folder=tmp_path / "m", daemon="", prometheus_port=1, alertmanager_port=2, grafana_port=3, mailbox_port=4,
        smtp_port=5,
    )  # fmt: skip
    assert monitor._grafana(run) == ""
    assert not (tmp_path / "m").exists()
