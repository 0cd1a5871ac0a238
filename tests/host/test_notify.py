import os
import secrets
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from treasuryd.host.notify import MAX_STATUS_CHARACTERS, ServiceManager


@pytest.fixture
def manager_socket(tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(path)
        listening.setblocking(False)
        yield path, listening


def lines(listening: socket.socket) -> list[str]:
    return listening.recv(4_096).decode().split("\n")


def test_ready_carries_the_status(manager_socket: tuple[str, socket.socket]) -> None:
    """READY=1 and the line for `systemctl status` travel in one message."""
    path, listening = manager_socket
    ServiceManager({"NOTIFY_SOCKET": path}).ready("paying from 2 accounts")
    assert lines(listening) == ["READY=1", "STATUS=paying from 2 accounts"]


def test_every_message_has_its_word(manager_socket: tuple[str, socket.socket]) -> None:
    """sd_notify(3) knows these words and no others."""
    path, listening = manager_socket
    manager = ServiceManager({"NOTIFY_SOCKET": path})
    manager.alive()
    assert lines(listening) == ["WATCHDOG=1"]
    manager.stopping()
    assert lines(listening) == ["STOPPING=1"]
    manager.reloading()
    word, since = lines(listening)
    assert word == "RELOADING=1"
    assert since.startswith("MONOTONIC_USEC=")
    assert int(since.partition("=")[2]) > 0


def test_a_status_is_one_line_of_bounded_length(manager_socket: tuple[str, socket.socket]) -> None:
    """Error text from outside must not be able to add a line of its own, such as READY=1."""
    path, listening = manager_socket
    ServiceManager({"NOTIFY_SOCKET": path}).status("node said\nREADY=1\n" + "x" * 10_000)
    (only,) = lines(listening)
    assert only.startswith("STATUS=node said READY=1 x")
    assert len(only) == len("STATUS=") + MAX_STATUS_CHARACTERS


@pytest.mark.skipif(sys.platform != "linux", reason="abstract sockets are Linux's own")
def test_an_abstract_socket_is_reached() -> None:
    """systemd uses "@name" inside containers."""
    name = f"treasuryd-{secrets.token_hex(8)}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind("\0" + name)
        listening.setblocking(False)
        ServiceManager({"NOTIFY_SOCKET": "@" + name}).ready()
        assert lines(listening) == ["READY=1"]


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "/nobody/listens"}])
def test_without_a_manager_nothing_happens(environment: dict[str, str]) -> None:
    """A terminal, launchd and a manager that went away must not stop a payment."""
    manager = ServiceManager(environment)
    manager.ready("x")
    manager.alive()
    manager.stopping()


def test_a_full_socket_loses_the_message_and_does_not_block(
    manager_socket: tuple[str, socket.socket],
) -> None:
    """The loop must not wait for a manager that does not read."""
    path, listening = manager_socket
    manager = ServiceManager({"NOTIFY_SOCKET": path})
    for _ in range(5_000):
        manager.alive()
    assert lines(listening) == ["WATCHDOG=1"]


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        pytest.param({"WATCHDOG_USEC": "30000000"}, 30.0, id="no process named: ours"),
        pytest.param({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": "77"}, 0.5, id="our process"),
        pytest.param({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": "78"}, None, id="another process"),
        pytest.param({}, None, id="not wanted"),
        pytest.param({"WATCHDOG_USEC": "0"}, None, id="switched off"),
        pytest.param({"WATCHDOG_USEC": "soon"}, None, id="garbage"),
    ],
)
def test_the_watchdog_interval_is_read_from_the_manager(
    environment: dict[str, str], expected: float | None
) -> None:
    """WATCHDOG_PID keeps a child from answering for its parent."""
    assert expected == ServiceManager(environment, process_id=77).watchdog_seconds


def test_our_own_process_id_is_the_default() -> None:
    """What the manager sets for us applies to us."""
    environment = {"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": str(os.getpid())}
    assert ServiceManager(environment).watchdog_seconds == 1.0
