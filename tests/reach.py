"""How tests reach programs that they start: a free port, a question over HTTP, patience, and settings that hurry."""

import socket
import time
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException
from typing import Any, Final

import orjson

START_SECONDS: Final = 60.0  # a start takes 1.5 s; beside many others a multiple of it
UNREACHED: Final[tuple[type[Exception], ...]] = (OSError, HTTPException)

AT_ONCE: Final = """
[governance]
min_vote_window_epochs = 1
min_timelock_epochs = 1
min_rollback_window_epochs = 1
allow_treasury_initiated = true
[log]
format = "json"
"""  # what is submitted is paid within a second or two; said in lines that a test can read


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ask(
    port: int, method: str, path: str, body: object = None, *, key: str = "", seconds: float = 5.0
) -> tuple[int, Any]:
    """Ask over HTTP; one of `UNREACHED` when nobody answers. Answers (status, JSON or text)."""
    link = HTTPConnection("127.0.0.1", port, timeout=seconds)
    try:
        headers = {"content-type": "application/json"} | ({"Idempotency-Key": key} if key else {})
        link.request(method, path, None if body is None else orjson.dumps(body), headers)
        answer = link.getresponse()
        said = answer.read()
        return answer.status, orjson.loads(said) if said.startswith((b"{", b"[")) else said.decode()
    finally:
        link.close()


def until(
    what: str, holds: Callable[[], object], *, seconds: float, else_show: Callable[[], str] = str
) -> float:
    """Wait for something that happens elsewhere; answers how long it took."""
    began = time.monotonic()
    while not holds():
        took = time.monotonic() - began
        assert took < seconds, f"{what}: not within {seconds} s\n{else_show()}"
        time.sleep(0.02)
    return time.monotonic() - began
