"""How a command ends when the daemon is away, refuses, or is something else."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.cli.conftest import TOKEN, Told, Town
from tests.fakes import PAYEE, disbursement

from treasuryd.cli.client import Daemon, path_of
from treasuryd.cli.failures import Failure
from treasuryd.core.model import Status
from treasuryd.errors import Exit

Call = Callable[..., Told]


def free_port() -> int:
    with closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@pytest.fixture
def stranger() -> Iterator[Callable[[bytes], str]]:
    """A server that answers every connection with the same bytes."""
    listeners: list[socket.socket] = []

    def start(reply: bytes) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def serve() -> None:
            try:
                while True:
                    connection, _ = listener.accept()
                    with connection:
                        connection.recv(65_536)
                        connection.sendall(reply)
            except OSError:
                return

        threading.Thread(target=serve, daemon=True).start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield start
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


@pytest.mark.parametrize(
    "command", [["list"], ["status"], ["explain", "1"], ["cancel", "1", "--reason", "x"]]
)
def test_without_a_daemon_it_says_so(call: Call, command: list[str]) -> None:
    """Exit code 69, where it looked, and what to do."""
    url = f"http://127.0.0.1:{free_port()}"
    said = call("--url", url, *command)
    assert said.code == 69
    assert f"no treasuryd runs at {url}" in said.err
    assert "treasuryd run" in said.err
    assert said.out == ""


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"",
    ],
)
def test_something_else_on_the_port_is_no_daemon(
    call: Call, stranger: Callable[[bytes], str], reply: bytes
) -> None:
    """No JSON, not our errors, not even HTTP: 69, never a trace."""
    said = call("--url", stranger(reply), "list")
    assert said.code == 69
    assert "no treasuryd" in said.err


@pytest.mark.parametrize("url", ["ftp://x", "127.0.0.1:9477", "http://", "http://h:99999", "http://h/?q=1"])
def test_a_bad_url_is_a_usage_error(call: Call, url: str) -> None:
    """Before anything is asked."""
    assert call("--url", url, "list").code == 2


def test_url_and_token_come_from_the_environment_too(
    town: Town, call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """TREASURYD_URL and TREASURYD_TOKEN_FILE, which the settings leave alone."""
    monkeypatch.setenv("TREASURYD_URL", town.url)
    monkeypatch.setenv("TREASURYD_TOKEN_FILE", str(tmp_path / "token"))
    town.world.desk.put(disbursement(1))
    assert call("cancel", 1, "--reason", "x").code == 0
    assert (
        call("config", "check", "--set", "state_folder=x").code == 78
    )  # not for the unknown variables: no account


def test_a_wrong_or_missing_token_is_77(town: Town, call: Call, tmp_path: Path) -> None:
    """And the token itself is never shown."""
    wrong = tmp_path / "wrong"
    wrong.write_text("guess\n")
    town.world.desk.put(disbursement(1))
    for options in (["--token-file", wrong], [], ["--token-file", tmp_path / "absent"]):
        said = call("--url", town.url, *options, "cancel", 1, "--reason", "x")
        assert said.code == 77
        assert "token" in said.err
        assert "TREASURYD_TOKEN_FILE" in said.err or "absent" in said.err
        assert TOKEN not in said.err + said.out
        assert "guess" not in said.err
    assert next(iter(town.world.desk.items.values())).status is Status.DRAFT


def test_a_bug_of_the_daemon_is_70(town: Town) -> None:
    """With the id to look for in its log."""
    town.world.desk.put(disbursement(1))
    town.world.desk.votes = None  # type: ignore[assignment,method-assign]  # to have a bug
    said = town.call("vote", 1, "--house", "operators", "--approve", "--offline", "--public-key", "ab" * 32)
    assert said.code == 70
    assert "request_id" in said.err


def test_every_rpc_method_by_a_real_call(town: Town, tmp_path: Path) -> None:
    """D30: all methods of the original, reached through our own client over HTTP."""
    daemon = Daemon(town.url, token_file=tmp_path / "token")
    item = {"destination": PAYEE, "amount": 5, "scheduled_epoch": 1}
    stored = daemon.call("gov.treasury.submit_disbursement", {"payload": {"disbursement": item}})
    number = stored["id"]
    for name in ("disbursements", "list_disbursements"):
        rows = daemon.call(f"gov.treasury.{name}")["disbursements"]
        assert [row["disbursement"]["id"] for row in rows] == [number]
    found = daemon.call("gov.treasury.disbursement", {"id": number})
    assert found["disbursement"]["disbursement"]["destination"] == PAYEE
    assert daemon.call("gov.treasury.balance")["balance"] == 0
    assert daemon.call("gov.treasury.balance_history")["snapshots"] == []
    with pytest.raises(Failure, match="the executor alone executes"):
        daemon.call("gov.treasury.execute_disbursement", {"id": number, "tx_hash": "ab" * 32, "receipts": []})
    with pytest.raises(Failure, match="still a draft"):
        daemon.call("gov.treasury.queue_disbursement", {"id": number, "current_epoch": 1})
    done = daemon.call("gov.treasury.rollback_disbursement", {"id": number, "reason": "x"})
    assert done == {"ok": True, "message": f"disbursement {number} cancelled"}


def test_paths_are_quoted() -> None:
    """An account's name never becomes another path."""
    assert path_of("treasury", "accounts", "a/../b?c#d") == "/treasury/accounts/a%2F..%2Fb%3Fc%23d"


def test_a_token_file_without_a_token_is_refused(tmp_path: Path) -> None:
    """Before a request leaves."""
    empty = tmp_path / "empty"
    empty.write_text("\n")
    with pytest.raises(Failure) as found:
        Daemon("http://127.0.0.1:1", token_file=empty).send("POST", "/x", {})
    assert found.value.code is Exit.REFUSED
