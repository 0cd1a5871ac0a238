"""Whose turn it is to have a long answer built: few at once, few waiting, and a bound on what is built and not yet sent."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from treasuryd.errors import Refusal, Rejected

RETRY_SECONDS: Final = 1  # what a client that is turned away is told to wait; a turn takes some 20 ms


class Busy(Rejected):
    """Too many long answers are asked for at this moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnLimits:
    """Bounds of long answers, once for those who sent the token and once for strangers."""

    at_once: int = 2  # built at the same time
    waiting: int = 32  # that wait for a turn
    held_bytes: int = 32 * 1024 * 1024  # built and not yet read; asyncio keeps up to three copies


class Turns:
    """
    The turns of one group of clients.

    Guarantees: at most `at_once` answers are being built and `waiting` wait, first come first served; no turn begins
    while `held_bytes` or more are held. Does not guarantee: fairness between clients of the group.
    """

    def __init__(self, limits: TurnLimits) -> None:
        self._limits = limits
        self._waiting = 0
        self._free = asyncio.Semaphore(limits.at_once)
        self.held = 0  # bytes

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn and keep it while the block runs; raises Busy where there is no place."""
        limits = self._limits
        if self._waiting >= limits.waiting:
            raise _busy(f"{limits.at_once} lists are being made and {limits.waiting} wait, the limit")
        self._waiting += 1
        try:
            await self._free.acquire()
        finally:
            self._waiting -= 1
        try:
            if self.held >= limits.held_bytes:
                raise _busy(f"clients have {self.held} bytes yet to read, the limit is {limits.held_bytes}")
            yield
        finally:
            self._free.release()


def _busy(why: str) -> Busy:
    return Busy(
        f"too many long answers at once: {why}",
        hint=f"Nothing was done. Ask again after {RETRY_SECONDS} s, or send the token: who has it waits in a line apart.",
        kind=Refusal.UNAVAILABLE,
    )


@dataclass(slots=True)
class Claim:
    """What one request holds of its group's bytes, from when it is built until its client has read it."""

    turns: Turns
    size: int = 0

    def add(self, count: int) -> None:
        """Hold more."""
        self.size += count
        self.turns.held += count

    def release(self) -> None:
        """Hold nothing any more."""
        self.turns.held -= self.size
        self.size = 0


CLAIM: Final = web.RequestKey("claim", Claim)
