"""The first moments of a process: before the tasks run, the watchdogs are fed already."""

from types import SimpleNamespace
from typing import Any, cast

import anyio
import pytest
from tests.fakes import FakeClock

from treasuryd.core.lease import Timing
from treasuryd.core.model import ChainState
from treasuryd.errors import Rejected, Transient
from treasuryd.host.notify import ServiceManager
from treasuryd.main.roots import Process, patience_of
from treasuryd.settings import Settings


class Clock(FakeClock):
    """Sleeping moves it and gives way."""

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds)
        await anyio.lowlevel.checkpoint()


class Beginning:
    """A process of which only the beginning is real: its first beat lasts as long as the test says."""

    def __init__(self, *, seconds: float, problem: Exception | None = None) -> None:
        self.clock, self.seconds, self.problem = Clock(), seconds, problem
        self.fed: list[float] = []
        self.longest = 0.0
        world: Any = SimpleNamespace(store=self, chain=self, clock=self.clock)
        settings = Settings()
        self.process = Process(
            settings=settings,
            parts=cast("Any", SimpleNamespace(world=world)),
            telemetry=cast("Any", None),
            manager=ServiceManager({}),
            mind=cast("Any", SimpleNamespace(fed_boot=0.0, ticked_boot=None)),
            office=cast("Any", None),
            ticker=cast("Any", None),
            keeper=cast("Any", self),
            auditor=cast("Any", None),
            watchdog=cast("Any", self),
        )

    async def chain_state(self) -> ChainState | None:
        return None

    async def heads(self) -> None:
        raise Transient("nobody answers yet")

    def feed(self) -> None:
        now = self.clock.boot_seconds()
        self.longest = max(self.longest, now - self.fed[-1]) if self.fed else 0.0
        self.fed.append(now)

    async def beat(self) -> None:
        """Take up page after page of what a signer bound."""
        ends = self.clock.boot_seconds() + self.seconds
        while self.clock.boot_seconds() < ends:
            await anyio.lowlevel.checkpoint()
        if self.problem is not None:
            raise self.problem


async def test_a_long_first_beat_is_no_silent_loop() -> None:
    """§6.5, §8.1: a restored store is taken up before anything else runs; the loop turns, and the watchdog hears of it."""
    beginning = Beginning(seconds=120)
    with anyio.fail_after(10):
        await beginning.process.begin()
    assert len(beginning.fed) > 100
    assert beginning.longest < beginning.process.settings.executor.loop_silence_seconds


async def test_what_ends_the_beginning_ends_the_process() -> None:
    """A refusal of the store or the chain is told as what it is, and nothing goes on feeding."""
    beginning = Beginning(seconds=2, problem=Rejected("another chain"))
    with pytest.raises(BaseExceptionGroup) as group, anyio.fail_after(10):
        await beginning.process.begin()
    assert group.group_contains(Rejected, match="another chain")
    fed = len(beginning.fed)
    await anyio.wait_all_tasks_blocked()
    assert len(beginning.fed) == fed


def test_the_watchdog_waits_for_the_end_of_the_lease_and_not_longer() -> None:
    """§6.5: the guard's deadline is what the executor shows; from there to the end of the lease it is a grace."""
    settings = Settings.model_validate({"executor": {"loop_silence_seconds": 12.0}})
    timing = Timing(ttl_seconds=20.0, renew_deadline_seconds=8.0, candidate_wait_seconds=25.0)
    patience = patience_of(timing, settings)
    assert (patience.lease_grace, patience.silence) == (12.0, 12.0)
    assert patience.look < 1.0


def test_the_settings_of_the_lease_are_its_times() -> None:
    """§6: all of them are settings; each reaches what it is named after."""
    values = {
        "ttl_seconds": 20.0,
        "renew_seconds": 2.0,
        "renew_deadline_seconds": 8.0,
        "candidate_wait_seconds": 30.0,
    }
    section = Settings.model_validate({"lease": values}).lease
    assert Timing(**section.model_dump()) == Timing(**values)
