"""The observer's line to the node: a port of its own, so that it shares no breaker, limiter or connection with payments."""

from typing import Protocol


class Answered(Protocol):
    """One HTTP answer, read whole and within its bound."""

    @property
    def status(self) -> int:
        """The HTTP status, whatever it is."""
        ...

    @property
    def body(self) -> bytes:
        """The body, at most as long as was allowed."""
        ...

    @property
    def retry_after_seconds(self) -> float | None:
        """What the header says, in seconds."""
        ...


class Line(Protocol):
    """
    One exchange with a node.

    Guarantees: ends within `total_seconds`, holds at most `max_bytes` of the answer, follows no redirect.
    Raises: Transient where no whole answer came; Malformed, which is one, where it is out of bounds or no HTTP.
    """

    async def call(
        self,
        url: str,
        body: bytes,
        *,
        connect_seconds: float,
        total_seconds: float,
        max_bytes: int,
        bearer: str | None = None,
    ) -> Answered:
        """POST JSON."""
        ...

    async def get(
        self, url: str, *, connect_seconds: float, total_seconds: float, max_bytes: int
    ) -> Answered:
        """GET text."""
        ...
