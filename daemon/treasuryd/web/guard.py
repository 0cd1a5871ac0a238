"""
What stands between a socket and aiohttp: a cap on connections, and deadlines for clients that are slow on purpose.

aiohttp itself bounds head and body by size only. A client that opens connections and says nothing, sends its head byte
by byte, or never reads its answer would hold file descriptors and memory for ever.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardLimits:
    """Bounds of one listening socket; seconds of the loop's clock."""

    max_connections: int = 128
    head_seconds: float = 10.0  # from the connection's start to its first complete request head
    write_seconds: float = 30.0  # how long an answer may wait for a client that does not read


@dataclass(slots=True)
class Gate:
    """Counts of one listening socket: open connections, and those turned away at the cap."""

    limits: GuardLimits = field(default_factory=GuardLimits)
    open: int = 0
    turned_away: int = 0


class GuardedConnection(asyncio.Protocol):
    """
    One connection, wrapped around aiohttp's protocol.

    Guarantees: at most `max_connections` are open; a connection without a complete first head within `head_seconds`,
    and one that does not read for `write_seconds`, is aborted. Later heads on the same connection are bounded by
    aiohttp's keep-alive timer, bodies by `web/app.py`. Does not guarantee: fairness between clients.
    """

    def __init__(self, inner: asyncio.Protocol, gate: Gate) -> None:
        self._inner = inner
        self._gate = gate
        self._transport: asyncio.Transport | None = None
        self._counted = False
        self._deadline: asyncio.TimerHandle | None = None
        self._drain_deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count the connection, or turn it away."""
        self._transport = cast("asyncio.Transport", transport)
        if self._gate.open >= self._gate.limits.max_connections:
            self._gate.turned_away += 1
            self._transport.abort()
            return
        self._gate.open += 1
        self._counted = True
        self._inner.connection_made(transport)
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(self._gate.limits.head_seconds, self._transport.abort)

    def head_complete(self) -> None:
        """A request came through whole: the connection is a real client's."""
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def data_received(self, data: bytes) -> None:
        """Hand on what a counted client sent."""
        if self._counted:
            self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        """Hand on the end of what the client sends."""
        return self._inner.eof_received() if self._counted else None

    def pause_writing(self) -> None:
        """The client does not read: from now on it has a deadline."""
        self._inner.pause_writing()
        if self._transport is not None and self._drain_deadline is None:
            loop = asyncio.get_running_loop()
            self._drain_deadline = loop.call_later(self._gate.limits.write_seconds, self._transport.abort)

    def resume_writing(self) -> None:
        """The client read enough."""
        if self._drain_deadline is not None:
            self._drain_deadline.cancel()
            self._drain_deadline = None
        self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the place back."""
        for timer in (self._deadline, self._drain_deadline):
            if timer is not None:
                timer.cancel()
        if self._counted:
            self._counted = False
            self._gate.open -= 1
            self._inner.connection_lost(exc)


def guarded(factory: Callable[[], asyncio.Protocol], gate: Gate) -> Callable[[], GuardedConnection]:
    """Wrap a protocol factory, for `loop.create_server`."""
    return lambda: GuardedConnection(factory(), gate)


def head_came(transport: asyncio.BaseTransport | None) -> None:
    """Tell the guard of a transport that a request head is complete; a transport without guard is left alone."""
    protocol = transport.get_protocol() if transport is not None else None
    if isinstance(protocol, GuardedConnection):
        protocol.head_complete()
