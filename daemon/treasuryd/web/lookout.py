"""
Looking at what may hang, without hanging with it.

A store call is awaited to its end whatever is cancelled meanwhile (protocol.md §11), so no timeout around it helps: with a
stuck disk `/health` would wait as long as the disk. Here the look runs on, and whoever asked gets an answer in time.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Lookout(Generic[T]):
    """
    One look at a time: who asks while it runs waits for the same one.

    Guarantees: `look` answers within `seconds`, with TimeoutError where the look does not; at most one look is under way,
    however many ask. Does not guarantee: that the look began after the question.
    """

    def __init__(self) -> None:
        self._running: asyncio.Future[T] | None = None

    async def look(self, at: Callable[[], Awaitable[T]], *, seconds: float) -> T:
        """Look, or join the look under way; raises what the look raises, or TimeoutError."""
        running = self._running
        if running is None or running.done():
            running = asyncio.ensure_future(at())  # bounded: one at a time, and what it reads is bounded
            running.add_done_callback(_heard)
            self._running = running
        done, _ = await asyncio.wait({running}, timeout=seconds)
        if not done:
            raise TimeoutError(f"no answer within {seconds:g} s")
        return running.result()


def _heard(running: "asyncio.Future[T]") -> None:
    """Take the exception, since nobody may be waiting any more."""
    if not running.cancelled():
        running.exception()
