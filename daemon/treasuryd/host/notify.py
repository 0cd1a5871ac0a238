"""
What the service manager is told: the notification protocol of systemd, sd_notify(3), in the twenty lines that it takes.

Without NOTIFY_SOCKET (launchd, a terminal, a container) every call does nothing.
"""

import os
import socket
import time
from collections.abc import Mapping
from typing import Final

MAX_STATUS_CHARACTERS: Final = 512  # one line in `systemctl status`; error text in it may be anything


class ServiceManager:
    """
    Tells systemd that we are ready, alive, reloading or stopping.

    Guarantees: never blocks and never raises: a full or vanished socket loses the message and nothing else.
    """

    def __init__(self, environment: Mapping[str, str], *, process_id: int | None = None) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        # "@name" is an abstract socket, which Linux writes with a leading zero byte
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.watchdog_seconds = _watchdog_seconds(environment, process_id or os.getpid())

    def ready(self, status: str = "") -> None:
        """Say that the start, or a reload, is complete."""
        self._send("READY=1", _status(status))

    def status(self, text: str) -> None:
        """Show one line to people (`systemctl status`)."""
        self._send(_status(text))

    def alive(self) -> None:
        """Feed the manager's watchdog; wanted at least every `watchdog_seconds`."""
        self._send("WATCHDOG=1")

    def reloading(self) -> None:
        """Say that SIGHUP is being worked on; `ready` ends it. The time is what Type=notify-reload asks for."""
        microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1_000
        self._send("RELOADING=1", f"MONOTONIC_USEC={microseconds}")

    def stopping(self, status: str = "") -> None:
        """Say that the shutdown has begun."""
        self._send("STOPPING=1", _status(status))

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        message = "\n".join(line for line in lines if line).encode()
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
                link.setblocking(False)
                link.sendto(message, self._address)
        except OSError:
            return  # a manager that cannot hear us will notice by itself: that is what its watchdog is for


def _status(text: str) -> str:
    return f"STATUS={' '.join(text.split())[:MAX_STATUS_CHARACTERS]}" if text else ""


def _watchdog_seconds(environment: Mapping[str, str], process_id: int) -> float | None:
    """Read how often the manager wants to be fed, in seconds; None when it does not, or asks another process."""
    microseconds = environment.get("WATCHDOG_USEC", "")
    meant_for = environment.get("WATCHDOG_PID", str(process_id))
    if not microseconds.isdecimal() or int(microseconds) == 0 or meant_for != str(process_id):
        return None
    return int(microseconds) / 1_000_000
