"""How late the event loop comes back: a task that sleeps a little and looks how much longer it took."""

from collections import deque
from typing import Final

from treasuryd.core.model import BootSeconds
from treasuryd.ports import Clock

EVERY_SECONDS: Final = 0.25  # four wake-ups a second cost nothing; what stands still for less is seen in part
WINDOW_SECONDS: Final = 10.0  # a scrape every 15 s sees most of it, and no stall haunts the gauge for longer


class Pulse:
    """
    The worst delay of the last ten seconds.

    Guarantees: bounded memory. Does not guarantee: that a stall shorter than `EVERY_SECONDS` is seen whole.
    """

    def __init__(self) -> None:
        self._late: deque[tuple[BootSeconds, float]] = deque(maxlen=int(WINDOW_SECONDS / EVERY_SECONDS))

    async def run(self, clock: Clock) -> None:
        """Beat, for ever."""
        while True:
            before = clock.boot_seconds()
            await clock.sleep(EVERY_SECONDS)
            now = clock.boot_seconds()
            self._late.append((now, max(0.0, now - before - EVERY_SECONDS)))

    def worst_seconds(self, now: BootSeconds) -> float:
        """How late it was at worst; 0 before the first beat."""
        return max((late for at, late in self._late if now - at <= WINDOW_SECONDS), default=0.0)
