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
    """Of one listening socket: connections open, turned away, and those that may lose their place, longest first."""

    limits: GuardLimits = field(default_factory=GuardLimits)
    open: int = 0
    turned_away: int = 0
    idle: "dict[GuardedConnection, None]" = field(
        default_factory=dict
    )  # without a request; a dict keeps the order
    unread: "dict[GuardedConnection, None]" = field(default_factory=dict)  # do not read their answers now

    def make_room(self) -> bool:
        """Hang up on whoever has been without a request for longest, else has not read for longest; False for nobody."""
        found = next((other for other in self.idle if other.has_sent), None) or next(iter(self.unread), None)
        if found is not None:
            found.hang_up()
        return found is not None


class GuardedConnection(asyncio.Protocol):
    """
    One connection, wrapped around aiohttp's protocol.

    Guarantees: at most `max_connections` are open, and at the cap a newcomer takes the place of the one that has been
    longest without a request, or else has not read its answer for longest, so that who only keeps connections keeps
    nobody out. A request counts from its head on if
    it needs no body or carries the token, else from the end of its body, until its answer is sent. A connection without
    a complete first head within `head_seconds`, and one that does not read for `write_seconds`, is aborted. Later heads
    on the same connection are bounded by aiohttp's keep-alive timer, bodies by `web/envelope.py`. Does not guarantee:
    fairness between clients.
    """

    def __init__(self, inner: asyncio.Protocol, gate: Gate) -> None:
        self._inner = inner
        self._gate = gate
        self._transport: asyncio.Transport | None = None
        self._counted = False  # aiohttp knows of it
        self._placed = False  # it has one of the places
        self._deadline: asyncio.TimerHandle | None = None
        self._drain_deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count the connection, or turn it away."""
        self._transport = cast("asyncio.Transport", transport)
        if self._gate.open >= self._gate.limits.max_connections and not self._gate.make_room():
            self._gate.turned_away += 1
            self._transport.abort()
            return
        self._gate.open += 1
        self._counted = self._placed = True
        self._gate.idle[self] = None
        self._inner.connection_made(transport)
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(self._gate.limits.head_seconds, self._transport.abort)

    def head_complete(self) -> None:
        """A request came through whole: the connection is a real client's."""
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def taken(self) -> None:
        """A request is being worked on: nobody takes this connection's place."""
        self._gate.idle.pop(self, None)

    def over(self) -> None:
        """The request is answered; the rest of its answer may still be on the way."""
        if self._placed:
            self._gate.idle.pop(self, None)
            self._gate.idle[self] = None

    @property
    def has_sent(self) -> bool:
        """Whether no answer is still on its way."""
        return self._transport is None or self._transport.get_write_buffer_size() == 0

    def hang_up(self) -> None:
        """Give the place to another."""
        self._leave()
        if self._transport is not None:
            self._transport.abort()

    def _leave(self) -> None:
        """Give the place back, once."""
        self._gate.idle.pop(self, None)
        self._gate.unread.pop(self, None)
        if self._placed:
            self._placed = False
            self._gate.open -= 1

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
        if self._placed:
            self._gate.unread[self] = None
        if self._transport is not None and self._drain_deadline is None:
            loop = asyncio.get_running_loop()
            self._drain_deadline = loop.call_later(self._gate.limits.write_seconds, self._transport.abort)

    def resume_writing(self) -> None:
        """The client read enough."""
        self._gate.unread.pop(self, None)
        if self._drain_deadline is not None:
            self._drain_deadline.cancel()
            self._drain_deadline = None
        self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the place back."""
        for timer in (self._deadline, self._drain_deadline):
            if timer is not None:
                timer.cancel()
        self._leave()
        if self._counted:
            self._counted = False
            self._inner.connection_lost(exc)


def guarded(factory: Callable[[], asyncio.Protocol], gate: Gate) -> Callable[[], GuardedConnection]:
    """Wrap a protocol factory, for `loop.create_server`."""
    return lambda: GuardedConnection(factory(), gate)


def guard_of(transport: asyncio.BaseTransport | None) -> GuardedConnection | None:
    """The guard of a request's connection; None where it has none, or is gone."""
    protocol = transport.get_protocol() if transport is not None else None
    return protocol if isinstance(protocol, GuardedConnection) else None
