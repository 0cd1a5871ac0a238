"""The cadence: tick, tell, rest; go on at once while work remains (protocol.md §4.9)."""

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace

from treasuryd.core import lease
from treasuryd.core.events import Event, EventKind, Severity
from treasuryd.core.model import BootSeconds, Held, Rules, Snapshot
from treasuryd.errors import Corrupt, Fenced, Transient
from treasuryd.executor.mind import Mind
from treasuryd.executor.tick import Report, Trade, tick
from treasuryd.ports import World

NOTE_SECONDS = 5.0  # how often an idle executor writes its snapshot: a write costs a disk sync


@dataclass(slots=True, kw_only=True)
class Ticker:
    """
    Ticks on its cadence or when woken.

    Guarantees: one tick at a time; a failed tick is told and tried again at the next poll. A storage error is not
        caught: it ends the process (protocol.md §7). Does not guarantee: a tick while no lease is held.
    """

    world: World
    rules: Rules
    trade: Trade
    mind: Mind
    _noted: BootSeconds | None = None

    async def run(self) -> None:
        """Tick until the executor is stopping; returns only then, between two ticks."""
        self.mind.task_alive = True
        try:
            while not self.mind.stopping:
                more = await self.once()
                if not more:
                    await self.mind.rest(self.mind.poll_seconds)
        finally:
            self.mind.task_alive = False

    async def once(self) -> bool:
        """Tick once, if a lease is held; says whether work remains."""
        mind, clock = self.mind, self.world.clock
        started = clock.boot_seconds()
        held = mind.held
        if not held.valid(started):
            self._step_back(held)
            mind.ticked_boot = started  # a standby's look counts
            return False
        try:
            report = await tick(self.world, self.rules, self.trade, mind, held)
        except Transient as problem:
            await self._failed("chain", problem)
            return False
        except Fenced as problem:
            self._step_back(mind.held)
            await self._failed("fenced", problem)
            return False
        except Corrupt:
            mind.store_failing = True  # the process ends; until it does, /health says why
            raise
        ended = clock.boot_seconds()
        mind.ticked_boot = mind.success_boot = ended
        self._tell(report, ended - started)
        await self._note(report)
        return report.more

    def _step_back(self, held: Held) -> None:
        """Give up leases that were not renewed in time: the keeper claims them anew, under a new term."""
        if held.leases and not held.valid(self.world.clock.boot_seconds()):
            self.mind.held = lease.without(self.mind.held, held.leases)
            self.world.observer.saw(
                *(
                    Event(
                        kind=EventKind.LEASE_LOST,
                        severity=Severity.WARNING,
                        account=account,
                        reason="not_renewed",
                    )
                    for account in held.leases
                )
            )

    def _tell(self, report: Report, seconds: float) -> None:
        """One canonical line for each tick that did something; the metric for every tick."""
        done = Counter[str]()
        for event in report.events:
            done[event.kind.value] += event.count
        self.world.observer.saw(
            Event(
                kind=EventKind.TICKED,
                severity=Severity.DEBUG if report.idle else Severity.INFO,
                seconds=(seconds,),
                fields={
                    "height": report.at.believed,
                    "settled_epoch": report.at.settled,
                    "staged": report.staged,
                    "sealed": report.sealed,
                    "sent": report.sent,
                    "more": report.more,
                    "milliseconds": round(seconds * 1_000, 1),
                    **done,
                    **{f"waiting_{hold}": count for hold, count in report.waiting.items()},
                },
            )
        )

    async def _note(self, report: Report) -> None:
        unix, before = self.world.clock.unix_seconds(), self.mind.snapshot
        self.mind.snapshot = Snapshot(
            last_tick_at=unix,
            last_success_at=unix,
            last_error_at=before.last_error_at,
            pending_matured=sum(report.waiting.values()),
            staged_intents=report.in_flight,
            last_submitted_nonce=report.last_nonce or before.last_submitted_nonce,
        )
        await self._keep()

    async def _failed(self, reason: str, problem: Exception) -> None:
        clock = self.world.clock
        unix = clock.unix_seconds()
        self.mind.ticked_boot = clock.boot_seconds()
        self.world.observer.saw(
            Event(
                kind=EventKind.TICK_FAILED,
                severity=Severity.WARNING,
                reason=reason,
                detail=str(problem)[:200],
            )
        )
        self.mind.snapshot = replace(
            self.mind.snapshot, last_tick_at=unix, last_error_at=unix, last_error=f"{reason}: {problem}"[:500]
        )
        await self._keep()

    async def _keep(self) -> None:
        """Write the snapshot for people, at most once in a while: it is a picture, never an input."""
        now = self.world.clock.boot_seconds()
        if self._noted is None or now - self._noted >= NOTE_SECONDS:
            self._noted = now
            with suppress(Transient):  # a later one says the same
                await self.world.store.note(self.mind.snapshot)
