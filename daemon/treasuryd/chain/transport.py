"""
The line to a node, as the adapter sees it: one request and its answer, or one frame of the state stream.

Behind this small protocol stand real sockets (`http.py`), scripted answers in tests, or a simulated network. Its
errors keep apart what decides whether bytes may have left: a call that was never made, and one whose end is unknown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from treasuryd.core.model import Meaning
from treasuryd.errors import Transient

FRAME_TOO_LARGE_HINT = (
    "Raise the frame limit of the chain settings, or use an endpoint with the ability `account`."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One HTTP answer, its body read whole and within bounds; `retry_after_seconds` as its header says."""

    status: int
    body: bytes
    retry_after_seconds: float | None = None


class NotMade(Transient):
    """The call was never made: breaker, limiter, silence or deadline kept it here. It says nothing of the endpoint."""


class TooLate(NotMade):
    """The deadline of the lease has passed: no send starts any more (protocol.md §6.3)."""


class Unreachable(Transient):
    """No connection came about, so nothing was sent."""


class Lost(Transient):
    """The request left, or may have, and no whole answer came: the node may have acted on it."""


class HttpRefused(Transient):
    """The endpoint answered with a status that is not 200; `meaning` is what that says of a broadcast."""

    def __init__(
        self, message: str, *, meaning: Meaning, retry_after_seconds: float | None = None, hint: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.meaning = meaning
        self.retry_after_seconds = retry_after_seconds


class FrameTooLarge(Transient):
    """The state of all accounts is longer than the limit."""


class Transport(Protocol):
    """
    One exchange with a node.

    Guarantees: ends within its time, holds at most `max_bytes` of the answer, follows no redirect, keeps no cookie.
    Raises: Unreachable, Lost, Malformed (an answer too long or compressed), FrameTooLarge; nothing else of its own.
    """

    async def call(
        self, url: str, body: bytes, *, connect_seconds: float, total_seconds: float, max_bytes: int
    ) -> Answer:
        """POST one body of JSON and read the answer, whatever its status."""
        ...

    async def stream_frame(
        self, url: str, *, connect_seconds: float, total_seconds: float, max_bytes: int
    ) -> bytes:
        """Open `/state_stream`, read one text frame, write nothing more, close both directions at once (N1)."""
        ...
