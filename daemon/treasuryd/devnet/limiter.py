"""The node's gate per client address: a token bucket, and the ban that follows its exhaustion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

IDLE_SECONDS: Final = 300.0  # an address that was silent for so long is forgotten
MAX_CLIENTS: Final = 4096


@dataclass(slots=True)
class _Client:
    tokens: float
    seen_at: float
    banned_until: float = float("-inf")


class Limiter:
    """
    Counts requests per address; capacity and rate are the same number.

    Guarantees: the request that finds the bucket empty hears `rate limited`, all further ones `banned` until the
        ban is over.
    """

    __slots__ = ("_ban_seconds", "_clients", "_rate")

    def __init__(self, rate: int | None, ban_seconds: float) -> None:
        self._rate = rate
        self._ban_seconds = ban_seconds
        self._clients: dict[str, _Client] = {}

    def refusal(self, address: str, *, now: float) -> tuple[int, str] | None:
        """Take one token; the JSON-RPC code and text of the refusal when there is none."""
        if self._rate is None:
            return None
        client = self._clients.get(address)
        if client is None:
            self._forget(now)
            client = self._clients[address] = _Client(tokens=float(self._rate), seen_at=now)
        if now < client.banned_until:
            return (-32002, "banned")
        client.tokens = min(float(self._rate), client.tokens + (now - client.seen_at) * self._rate)
        client.seen_at = now
        if client.tokens < 1.0:
            client.banned_until = now + self._ban_seconds
            return (-32001, "rate limited")
        client.tokens -= 1.0
        return None

    def _forget(self, now: float) -> None:
        if len(self._clients) >= MAX_CLIENTS:
            fresh = {who: seen for who, seen in self._clients.items() if now - seen.seen_at < IDLE_SECONDS}
            self._clients = fresh
