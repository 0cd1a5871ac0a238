"""
The last resort: a thread that ends a process whose event loop is stuck while others may already have taken over.

The loop checks its own lease before each effect, but a loop that is stuck in one call checks nothing. This thread needs
no loop: it ends the process when the lease has run out and the process still believes that it leads, and when the loop
has not been heard of for too long (protocol.md §6.5). The service manager starts it anew.
"""

import math
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from treasuryd.core.model import BootSeconds, Held
from treasuryd.errors import Exit

SAYING_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Why the process must end, and with which exit code."""

    exit_code: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """
    How long the thread looks on, in seconds.

    `lease_grace`: from `Held.until` (the guard's deadline) to the end of the lease itself: TTL minus renew deadline.
    `silence`: how long the loop may stay unfed. `look`: how often the thread looks.
    """

    lease_grace: float
    silence: float = 30.0
    look: float = 0.25


class Watchdog:
    """
    Watches the loop from outside.

    Guarantees: `end` is called within two looks after the lease has run out under a stuck loop. After a sleep of the
    machine or a SIGSTOP, in which this thread stood still too, the loop gets two looks to notice by itself: every
    effect asks the guard first, so that costs nothing. Until it has turned it gets them once: a loop that is stuck on a
    machine that stands still again and again is ended as well.
    Does not guarantee: that nothing was sent after the lease ran out; the fence and the nonce are for that.
    """

    def __init__(
        self,
        *,
        now: Callable[[], BootSeconds],
        held: Callable[[], Held],
        patience: Patience,
        say: Callable[[str], object],
        end: Callable[[int], object] = os._exit,
    ) -> None:
        self._now = now
        self._held = held
        self._patience = patience
        self._say = say
        self._end = end
        self._fed_at = now()
        self._looked_at = now()
        self._pardoned_at = BootSeconds(-math.inf)
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def feed(self) -> None:
        """Say that the loop turns; called on the loop, cheap."""
        self._fed_at = self._now()

    def start(self) -> None:
        """Begin to watch. A daemon thread: it never keeps the process alive."""
        self.feed()
        self._looked_at = self._now()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop watching; repeating it is harmless."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(timeout=2 * self._patience.look + 1)
            self._thread = None

    def look(self) -> Verdict | None:
        """Look once: None when all is well, or while the loop may still notice by itself after a common pause."""
        now = self._now()
        look = self._patience.look
        # the whole process stood still, not the loop alone
        if now - self._looked_at > 4 * look and self._fed_at > self._pardoned_at:
            self._pardoned_at = now
        self._looked_at = now
        if now < self._pardoned_at + 2 * look:
            return None
        held = self._held()
        overdue = now - held.until - self._patience.lease_grace
        if held.leases and overdue >= 0:
            accounts = ", ".join(sorted(held.leases))
            return Verdict(
                exit_code=Exit.LEASE_LOST,
                reason=f"the lease of {accounts} ran out {overdue:.1f} s ago and the loop has not noticed",
            )
        silent = now - max(self._fed_at, self._pardoned_at)
        if silent >= self._patience.silence:
            return Verdict(exit_code=Exit.OUR_BUG, reason=f"the event loop has not turned for {silent:.1f} s")
        return None

    def _watch(self) -> None:
        while not self._stopped.wait(self._patience.look):
            verdict = self.look()
            if verdict is not None:
                self._tell(f"treasuryd ends itself, exit code {verdict.exit_code:d}: {verdict.reason}")
                self._end(verdict.exit_code)
                return

    def _tell(self, text: str) -> None:
        """Say it, and wait a second at most: who reads our standard error may stand still for the same cause."""
        saying = threading.Thread(target=self._say, args=(text,), name="watchdog's last word", daemon=True)
        saying.start()
        saying.join(SAYING_SECONDS)
