"""The task group: who runs, in which order they stop, and that an eternal task which returns is an error (D35)."""

import signal
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import anyio

from treasuryd.core.events import Event, EventKind, Severity
from treasuryd.errors import Corrupt, Transient
from treasuryd.executor.keeper import Keeper
from treasuryd.executor.loop import Ticker
from treasuryd.executor.mind import Mind
from treasuryd.ports import World

Duty = Callable[[], Awaitable[None]]


@dataclass(slots=True, kw_only=True)
class Supervisor:
    """
    Owns every task of the process.

    Guarantees: a duty that ends, for whatever reason, ends the process unless a stop was asked for; a stop lets the
        tick end, releases the leases, and stops the web last. If the tick does not end within the grace, the leases
        are not released: the next holder waits out the TTL (protocol.md §6.7).
    """

    world: World
    mind: Mind
    ticker: Ticker
    keeper: Keeper
    grace_seconds: float
    duties: Mapping[str, Duty]  # web, follower, heartbeat …: eternal, cancelled at the end
    told: Callable[[str], None]  # the service manager: "stopping"
    reload: Callable[[], None]  # SIGHUP
    _stop: anyio.Event = field(default_factory=anyio.Event)
    _ticked_out: anyio.Event = field(default_factory=anyio.Event)

    def stop(self) -> None:
        """Ask for an orderly end; repeating it is harmless."""
        self.mind.stopping = True
        self._stop.set()
        self.mind.wake()

    async def run(self) -> bool:
        """
        Run until stopped.

        Returns: whether everything ended in order. Raises: a group of what ended one or several duties.
        """
        async with anyio.create_task_group() as group:
            group.start_soon(self._signals, name="signals")
            group.start_soon(self._guarded, "keeper", self.keeper.run, name="keeper")
            group.start_soon(self._tick_until_stopped, name="ticker")
            for name, duty in self.duties.items():
                group.start_soon(self._guarded, name, duty, name=name)
            await self._stop.wait()
            orderly = await self._wind_down()
            group.cancel_scope.cancel()
        return orderly

    async def _wind_down(self) -> bool:
        """Tick ends → leases released → the rest. The caller stops the web by cancelling the group."""
        self.told("finishing the current tick")
        self.world.observer.saw(Event(kind=EventKind.STOPPING))
        with anyio.move_on_after(self.grace_seconds) as grace:
            await self._ticked_out.wait()
            try:
                await self.keeper.yield_all()
            except Transient as problem:  # the store is locked: left to itself, the lease runs out
                self._late("not_released", problem.message)
                return False
        if grace.cancelled_caught:
            self._late("grace_over", f"the work did not end within {self.grace_seconds} s")
        return not grace.cancelled_caught

    def _late(self, reason: str, why: str) -> None:
        self.world.observer.saw(
            Event(
                kind=EventKind.STOPPING,
                severity=Severity.WARNING,
                reason=reason,
                detail=f"{why}; the next holder waits out the lease",
            )
        )

    async def _tick_until_stopped(self) -> None:
        await self.ticker.run()
        if not self.mind.stopping:
            raise Corrupt("the ticker returned although nobody stopped it", hint="This is a bug: report it.")
        self._ticked_out.set()

    async def _guarded(self, name: str, duty: Duty) -> None:
        await duty()
        if not self.mind.stopping:
            raise Corrupt(
                f"the task {name} returned although nobody stopped it", hint="This is a bug: report it."
            )

    async def _signals(self) -> None:
        """SIGTERM and SIGINT start the grace, a second one ends it; SIGHUP re-reads what may change."""
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as arriving:
            async for number in arriving:
                if number == signal.SIGHUP:
                    self.reload()
                elif self.mind.stopping:
                    raise Hurried(number)
                else:
                    self.stop()


class Hurried(Exception):
    """A second signal: end at once, release nothing."""

    def __init__(self, number: int) -> None:
        super().__init__(f"second signal {number}: ending at once")
        self.number = number
