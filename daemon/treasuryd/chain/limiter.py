"""
Our own rate limit: below the node's, so that it never bans us, and silence while it does (N11).

A token bucket kept as one number, the time at which it would be full again. Whoever has to wait reserves a place
first, so that callers leave in order and none is starved.
"""

from __future__ import annotations

from typing import Final

from treasuryd.chain.transport import NotMade, TooLate
from treasuryd.core.model import BootSeconds, Endpoint
from treasuryd.ports import Clock

_GRAIN_SECONDS: Final = 1e-6  # rounding of the clock's numbers is no reason to wait


class Limiter:
    """
    Requests per second of one endpoint, by the boot clock.

    Guarantees: at most `burst + per_second * t` requests in any span of t seconds; none while silent.
    Does not guarantee: that the endpoint counts as we do, or that nobody else shares our address.
    """

    def __init__(
        self, clock: Clock, endpoint: Endpoint, *, per_second: float, burst: int, wait_seconds: float
    ) -> None:
        self._clock = clock
        self._endpoint = endpoint
        self.retune(per_second=per_second, burst=burst)
        self._wait_seconds = wait_seconds
        self._even_at = 0.0  # boot second at which the next request would keep the even pace
        self._silent_until = 0.0

    def retune(self, *, per_second: float, burst: int) -> None:
        """Go on at another pace."""
        self._interval = 1.0 / per_second
        self._tolerance = (burst - 1) / per_second  # how far ahead of an even pace a burst may run

    async def take(self, *, until: BootSeconds | None = None) -> None:
        """
        Wait for leave to make one request.

        Raises: NotMade while silent, or when the queue is longer than the wait allowed; TooLate when `until` passes
            before leave would come, or has.
        """
        now = self._clock.boot_seconds()
        self._refuse_silent(now)
        wait = max(0.0, self._even_at - self._tolerance - now)
        if until is not None and now + wait >= until:
            raise TooLate(f"{self._endpoint}: the lease's deadline passes before the request could start")
        if wait > self._wait_seconds:
            raise NotMade(
                f"{self._endpoint}: {wait:.1f} s of requests are queued, the limit is {self._wait_seconds} s",
                hint="Raise max_requests_per_second only if the node's own limit is higher.",
            )
        self._even_at = max(self._even_at, now) + self._interval
        if wait > _GRAIN_SECONDS:
            await self._clock.sleep(wait)
            now = self._clock.boot_seconds()
            self._refuse_silent(now)
            if until is not None and now >= until:
                raise TooLate(f"{self._endpoint}: the lease's deadline passed while the request was queued")

    def silence(self, seconds: float) -> None:
        """Make no request for so long; a longer silence that already stands is kept."""
        self._silent_until = max(self._silent_until, self._clock.boot_seconds() + seconds)

    def _refuse_silent(self, now: float) -> None:
        if now < self._silent_until:
            raise NotMade(
                f"{self._endpoint}: silent for {self._silent_until - now:.0f} s more, it has limited our rate",
                hint="Something else on this address may share the node's limit.",
            )
