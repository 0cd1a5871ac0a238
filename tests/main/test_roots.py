"""The whole program as processes: start, serve, reload, stand by, refuse, stop."""

import contextlib
import http.client
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "config" / "dev.toml"
START_SECONDS = 30.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def command(folder: Path, port: int, *more: str, config: Path = CONFIG) -> list[str]:
    return [
        *(sys.executable, "-m", "treasuryd", "run", "--config", str(config)),
        *("--state-folder", str(folder), "--port", str(port), "--set", "devnet.port=0", *more),
    ]


@contextlib.contextmanager
def running(line: list[str], said: Path) -> Iterator["subprocess.Popen[bytes]"]:
    with said.open("wb") as log:
        process = subprocess.Popen(line, stdout=log, stderr=log, env=os.environ)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(timeout=30)


def ask(port: int, path: str) -> tuple[int, Any]:
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        link.request("GET", path)
        answer = link.getresponse()
        body = answer.read()
        return answer.status, json.loads(body) if body.startswith(b"{") else body.decode()
    finally:
        link.close()


def wait_for(port: int, path: str, process: "subprocess.Popen[bytes]", said: Path) -> Any:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, said.read_text()
        with contextlib.suppress(OSError):
            status, body = ask(port, path)
            if status == 200:
                return body
        time.sleep(0.05)
    raise AssertionError(f"{path} did not answer 200: {said.read_text()}")


def stop(process: "subprocess.Popen[bytes]") -> int:
    process.send_signal(signal.SIGTERM)
    return process.wait(timeout=30)


def until(said: Path, words: str) -> str:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        text = said.read_text()
        if words in text:
            return text
        time.sleep(0.05)
    raise AssertionError(f"never said {words!r}: {said.read_text()}")


def test_it_serves_reloads_and_stops_in_order(tmp_path: Path) -> None:
    """The documented answers; SIGHUP applies what may change and refuses what may not; SIGTERM ends with 0."""
    said, port, config = tmp_path / "log", free_port(), tmp_path / "dev.toml"
    config.write_text(CONFIG.read_text())
    with running(command(tmp_path / "state", port, config=config), said) as process:
        wait_for(port, "/readyz", process, said)
        # ready comes before the first tick has ended; until then `/health` is 503
        assert wait_for(port, "/health", process, said)["status"] in {"ok", "degraded"}
        assert "treasury_executor_last_tick_seconds" in ask(port, "/metrics")[1]
        status = ask(port, "/treasury/executor/status")[1]
        assert status["leader"] is True
        assert status["lease_holder"].startswith("treasury-")

        config.write_text(CONFIG.read_text().replace("poll_seconds = 0.2", "poll_seconds = 0.3"))
        process.send_signal(signal.SIGHUP)
        assert "executor.poll_seconds" in until(said, "settings_reloaded")
        config.write_text(CONFIG.read_text().replace("epoch_blocks = 10", "epoch_blocks = 11"))
        process.send_signal(signal.SIGHUP)
        assert "epoch_blocks" in until(said, "settings_reload_refused")
        config.write_text("no_such_setting = 1\n" + CONFIG.read_text())
        process.send_signal(signal.SIGHUP)
        until(said, "no_such_setting")
        assert ask(port, "/livez")[0] == 200  # a file that cannot be read changes nothing, and ends nothing

        assert stop(process) == 0
    text = said.read_text()
    assert text.index("treasuryd.stopping") < text.index("lease_released") < text.index("treasuryd.stopped")


def test_a_reload_asked_for_while_it_starts_is_done_once_it_has_started(tmp_path: Path) -> None:
    """SIGHUP from its first moments on: the process lives, and reads its settings again when it can."""
    said, port = tmp_path / "log", free_port()
    with running(command(tmp_path / "state", port), said) as process:
        hangs_up_once_it_may(process)
        wait_for(port, "/readyz", process, said)
        until(said, "settings_reloaded")
        assert stop(process) == 0


def hangs_up_once_it_may(process: "subprocess.Popen[bytes]") -> None:
    """Send SIGHUP in the first milliseconds of our own code; before them the interpreter is not ours."""
    status = Path(f"/proc/{process.pid}/status")
    deadline = time.monotonic() + START_SECONDS
    while status.exists() and time.monotonic() < deadline:
        caught = next(line for line in status.read_text().splitlines() if line.startswith("SigCgt:"))
        if int(caught.split()[1], 16) & 1 << (signal.SIGHUP - 1):
            break
        time.sleep(0.002)
    else:
        time.sleep(0.3)  # a system without /proc
    process.send_signal(signal.SIGHUP)


def test_a_second_process_stands_by_and_takes_over_at_once(tmp_path: Path) -> None:
    """D14: same folder, same names, two starts: one holds; a clean stop hands over without waiting out the TTL."""
    first_said, second_said = tmp_path / "first", tmp_path / "second"
    first_port, second_port, chain_port = free_port(), free_port(), free_port()
    folder = tmp_path / "state"
    chain = [
        *(sys.executable, "-m", "treasuryd", "devnet", "--port", str(chain_port), "--block-interval", "0.1"),
        *("--fund", "treasury=1000000"),
    ]
    config = tmp_path / "dev.toml"
    endpoint = f'[chain]\nendpoints = [{{ name = "a", url = "http://127.0.0.1:{chain_port}" }}]'
    config.write_text(CONFIG.read_text().replace("[chain]", endpoint))
    with (
        running(chain, tmp_path / "chain"),
        running(command(folder, first_port, config=config), first_said) as first,
    ):
        wait_for(first_port, "/readyz", first, first_said)
        with running(command(folder, second_port, config=config), second_said) as second:
            wait_for(second_port, "/readyz", second, second_said)
            assert ask(second_port, "/treasury/executor/status")[1]["leader"] is False
            assert ask(second_port, "/health")[0] == 200
            assert stop(first) == 0
            deadline = time.monotonic() + 8  # a renewal interval is 3 s, the TTL 10 s
            while not ask(second_port, "/treasury/executor/status")[1]["leader"]:
                assert time.monotonic() < deadline, second_said.read_text()
                time.sleep(0.1)
            assert stop(second) == 0


def test_a_killed_holder_is_replaced_on_its_machine_within_three_seconds(tmp_path: Path) -> None:
    """D14: the folder's lock proves the predecessor dead; the TTL is not waited out."""
    said, port, folder = tmp_path / "log", free_port(), tmp_path / "state"
    with running(command(folder, port), said) as process:
        wait_for(port, "/readyz", process, said)
        process.kill()
    with running(command(folder, port), said) as process:
        wait_for(port, "/readyz", process, said)
        started = time.monotonic()
        while not ask(port, "/treasury/executor/status")[1]["leader"]:
            assert time.monotonic() - started < 3
            time.sleep(0.05)


@pytest.mark.parametrize(
    ("spoil", "code", "sentence"),
    [
        pytest.param("newer", 78, "schema", id="a database of a newer version"),
        pytest.param("other chain", 78, "chain", id="a database of another chain"),
        pytest.param("other epochs", 78, "chain.epoch_blocks = 10", id="epochs of another length"),
        pytest.param("no key", 78, "key", id="a missing key file in production"),
        pytest.param("open key", 77, "mode", id="a key file that others can read"),
        pytest.param("typo", 78, "poll_second", id="a typo in the file"),
        pytest.param("no file", 78, "nowhere.toml", id="a file that is not there"),
        pytest.param("port", 69, "cannot listen", id="a port in use"),
    ],
)
def test_it_refuses_to_start_with_a_sentence(spoil: str, code: int, sentence: str, tmp_path: Path) -> None:
    """Bad input: the exit code of interfaces.md §3, one sentence that names the thing, no stack trace."""
    folder, config, port = tmp_path / "state", tmp_path / "dev.toml", free_port()
    config.write_text(CONFIG.read_text())
    with contextlib.ExitStack() as stack:
        if spoil in {"newer", "other chain", "other epochs", "open key"}:
            said = tmp_path / "first"
            process = stack.enter_context(running(command(folder, port, config=config), said))
            wait_for(port, "/readyz", process, said)
            assert stop(process) == 0
        if spoil == "port":
            taken = stack.enter_context(socket.socket())
            taken.bind(("127.0.0.1", port))
            taken.listen()
        _spoil(spoil, folder, config)
        done = subprocess.run(
            command(folder, port, config=tmp_path / "nowhere.toml" if spoil == "no file" else config),
            capture_output=True,
            timeout=60,
            check=False,
        )
    said_text = done.stderr.decode()
    assert code == done.returncode, said_text
    assert sentence in said_text
    assert "Traceback" not in said_text


def _spoil(what: str, folder: Path, config: Path) -> None:
    if what in {"newer", "other chain"}:
        link = sqlite3.connect(folder / "treasuryd.db")
        with link:
            link.execute("PRAGMA user_version = 9" if what == "newer" else "UPDATE chain SET chain_id = 2")
        link.close()
    elif what == "other epochs":
        config.write_text(config.read_text().replace("epoch_blocks = 10", "epoch_blocks = 5"))
    elif what == "no key":
        text = config.read_text().replace("development = true", "development = false")
        text = text.replace("enabled = true", "enabled = false")
        config.write_text(
            text.replace("[chain]", '[chain]\nendpoints = [{ name = "a", url = "http://127.0.0.1:9" }]')
        )
        (folder / "signer").mkdir(parents=True, mode=0o700)
        (folder / "signer" / "credential").write_text("a secret that is long enough\n")
        (folder / "signer" / "credential").chmod(0o600)
    elif what == "open key":
        (folder / "signer" / "treasury.key").chmod(0o644)
    elif what == "typo":
        config.write_text(config.read_text().replace("poll_seconds", "poll_second"))
