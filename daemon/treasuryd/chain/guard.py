"""
The circuit breaker around each call: the async side of `core/breaker.py`, thin on purpose (protocol.md §7).

One guard per endpoint and class. It is asked for every call, gives every permit back whatever ends the call, and
tells the observer when the state changes. It is plain synchronous code, so nothing can come between its steps.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections import Counter
from dataclasses import replace
from types import TracebackType
from typing import Final, Self

from treasuryd.chain.transport import NotMade
from treasuryd.core import breaker as rules
from treasuryd.core.breaker import Breaker, BreakerSettings, Outcome, Permit
from treasuryd.core.events import Event, EventKind, Severity
from treasuryd.core.model import (
    CALL_SECONDS,
    BreakerMode,
    BreakerReport,
    BreakerState,
    CallClass,
    CallOutcome,
    CallTally,
    Endpoint,
)
from treasuryd.errors import Transient
from treasuryd.ports import Clock, Entropy, Observer

_SEVERITY: Final = {
    BreakerState.CLOSED: Severity.INFO,
    BreakerState.HALF_OPEN: Severity.INFO,
    BreakerState.OPEN: Severity.WARNING,
}
_COUNTS_AS: Final = {
    Outcome.SUCCESS: CallOutcome.SUCCESS,
    Outcome.SLOW: CallOutcome.SUCCESS,
    Outcome.FAILURE: CallOutcome.FAILURE,
    Outcome.IGNORED: CallOutcome.IGNORED,
    Outcome.CANCELLED: CallOutcome.IGNORED,
}


class BreakerOpen(NotMade):
    """The breaker refused the call: nothing was sent."""


class Guard:
    """
    One breaker with its clock, chance and observer.

    Guarantees: each permit is settled exactly once: on success, failure, slowness, cancellation, and on a bug.
    A process that has just started is cautious: one probe first. Does not guarantee: memory over a restart, except of
    what people forced, which the store keeps.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        call_class: CallClass,
        *,
        settings: BreakerSettings,
        slow_seconds: float,
        clock: Clock,
        entropy: Entropy,
        observer: Observer,
    ) -> None:
        self.endpoint = endpoint
        self.call_class = call_class
        self.slow_seconds = slow_seconds
        self.clock = clock
        self._entropy = entropy
        self._observer = observer
        self._breaker: Breaker = rules.cautious(settings)
        self._outcomes = Counter[CallOutcome]()
        self._within = [0] * (len(CALL_SECONDS) + 1)  # the last place: longer than all of them
        self._seconds = 0.0

    def admit(self) -> Call:
        """Ask leave for one call, to be used with `with`; BreakerOpen when there is none."""
        now = self.clock.boot_seconds()
        after, permit = rules.ask(self._breaker, now=now)
        self._become(after)
        if permit is None:
            self._outcomes[CallOutcome.REJECTED] += 1
            raise self._refusal()
        return Call(self, permit)

    def confirm(self, permit: Permit) -> None:
        """Raise BreakerOpen where a call that waited for its turn may not leave any more; for `Call` alone."""
        if rules.lapsed(self._breaker, permit, now=self.clock.boot_seconds()):
            raise self._refusal()

    def _refusal(self) -> BreakerOpen:
        shown = self.report()
        reopens = shown.reopens_in_seconds
        wait = "until a probe has succeeded" if reopens is None else f"for {reopens:.0f} s more"
        if shown.mode is BreakerMode.FORCED_OPEN:
            wait = "until a person closes it"
        return BreakerOpen(
            f"{self.endpoint}: the {self.call_class} breaker is {shown.state} {wait}",
            hint="`treasuryd breaker show` tells its state, `treasuryd breaker reset` ends a forced one.",
        )

    def closed(self) -> bool:
        """Say whether calls flow freely: no probe is awaited, nothing is open."""
        return rules.state_at(self._breaker, self.clock.boot_seconds()) is BreakerState.CLOSED

    def report(self) -> BreakerReport:
        """Describe the breaker, and the calls made through it, at this moment."""
        shown = rules.report(
            self._breaker, endpoint=self.endpoint, call_class=self.call_class, now=self.clock.boot_seconds()
        )
        calls = CallTally(
            outcomes=dict(self._outcomes),
            within=tuple(self._within[:-1]),
            made=sum(self._within),
            seconds=self._seconds,
        )
        return replace(shown, calls=calls)

    def force(self, mode: BreakerMode) -> None:
        """Apply a person's word."""
        self._become(rules.force(self._breaker, mode, now=self.clock.boot_seconds()))

    def retune(self, settings: BreakerSettings) -> None:
        """Go on with other thresholds and times (SIGHUP)."""
        self._breaker = rules.retuned(self._breaker, settings)

    def tally(self, outcome: Outcome, took_seconds: float | None) -> None:
        """Count what came of a call, and how long it took where it left; for `Call` alone."""
        self._outcomes[_COUNTS_AS[outcome]] += 1
        if took_seconds is not None:
            self._within[bisect_left(CALL_SECONDS, took_seconds)] += 1
            self._seconds += took_seconds

    def settle(self, permit: Permit, outcome: Outcome, retry_after_seconds: float | None) -> None:
        """Give a permit back; for `Call` alone."""
        self._become(
            rules.settle(
                self._breaker,
                permit,
                outcome,
                now=self.clock.boot_seconds(),
                draw=self._entropy.draw(),
                retry_after_seconds=retry_after_seconds,
            )
        )

    def _become(self, after: Breaker) -> None:
        before, self._breaker = self._breaker, after
        if before.state is not after.state:
            self._observer.saw(
                Event(
                    kind=EventKind.BREAKER_CHANGED,
                    severity=_SEVERITY[after.state],
                    reason=after.state.value,
                    fields={
                        "endpoint": self.endpoint,
                        "class": self.call_class.value,
                        "was": before.state.value,
                        "mode": after.mode.value,
                        "consecutive_failures": before.consecutive,
                    },
                )
            )


class Call:
    """One permitted call. `outcome` is what a call that ends without an error counts as; the caller may say less."""

    __slots__ = ("_guard", "_left", "_permit", "_started", "outcome")

    def __init__(self, guard: Guard, permit: Permit) -> None:
        self._guard = guard
        self._permit = permit
        self._started = guard.clock.boot_seconds()
        self._left = False
        self.outcome = Outcome.SUCCESS

    def __enter__(self) -> Self:
        return self

    def starts(self) -> None:
        """
        Be told that the call leaves now: what it waited for our own limiter is not its slowness.

        Raises: BreakerOpen where the breaker opened meanwhile, by a person's word (the kill switch) or by itself.
        """
        self._guard.confirm(self._permit)
        self._started = self._guard.clock.boot_seconds()
        self._left = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        took = self._guard.clock.boot_seconds() - self._started
        outcome = self._judge(error, took)
        left = self._left and not isinstance(error, NotMade)
        self._guard.tally(outcome, max(0.0, took) if left else None)
        self._guard.settle(self._permit, outcome, getattr(error, "retry_after_seconds", None))

    def _judge(self, error: BaseException | None, took: float) -> Outcome:
        if error is None:
            slow = self.outcome is Outcome.SUCCESS and took > self._guard.slow_seconds
            return Outcome.SLOW if slow else self.outcome
        if isinstance(error, asyncio.CancelledError):
            return Outcome.CANCELLED
        if isinstance(error, Transient) and not isinstance(error, NotMade):
            return Outcome.FAILURE
        return Outcome.IGNORED  # never sent, or a bug of ours: it says nothing of the endpoint
