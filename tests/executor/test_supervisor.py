"""Who runs, who ends the process, and in which order it stops."""

import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, cast

import anyio
import pytest
from tests.fakes import FakeClock, FakeObserver

from treasuryd.core import lease
from treasuryd.core.events import EventKind
from treasuryd.core.model import (
    AccountId,
    BootSeconds,
    BreakerOverride,
    DisbursementId,
    Held,
    Incarnation,
    Lease,
    Owner,
    Rules,
    Term,
)
from treasuryd.core.restore import Past
from treasuryd.errors import Corrupt, Transient
from treasuryd.executor.keeper import Keeper
from treasuryd.executor.loop import Ticker
from treasuryd.executor.mind import Mind
from treasuryd.executor.supervisor import Hurried, Supervisor
from treasuryd.executor.tick import Trade
from treasuryd.ports import World

TREASURY = AccountId("treasury")
HELD = Held(
    leases={TREASURY: Lease(account=TREASURY, incarnation=Incarnation("i"), term=Term(1))},
    until=BootSeconds(1e9),
)


class StillClock(FakeClock):
    """Nobody wakes from its sleep."""

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await anyio.sleep_forever()


class Leases:
    """A store that renews and takes leases back, and writes down when."""

    def __init__(self, order: list[str]) -> None:
        self.order = order
        self.stuck = False
        self.locked = False

    async def renew(self, held: Held) -> list[Lease]:
        return list(held.leases.values())

    async def past(self, told: object) -> Past:
        del told
        return Past(
            lineage="", former=frozenset(), heads={}, unknown=(), high_water={}, terms={},
            last_disbursement=DisbursementId(0),
        )  # fmt: skip

    async def release(self, held: Held) -> None:
        if self.stuck:
            await anyio.sleep_forever()
        if self.locked:
            raise Transient("database is locked")
        self.order.append(f"released {', '.join(held.leases)}")


class Silence:
    """A desk and a chain on which nobody has said a word about breakers; a signer that was told nothing."""

    async def told(self) -> dict[str, object]:
        return {}

    async def marks(self) -> dict[str, object]:
        return {}

    async def overrides(self) -> list[BreakerOverride]:
        return []

    async def heed(self, read: Callable[[], Awaitable[list[BreakerOverride]]]) -> None:
        assert await read() == []


class StubTicker(Ticker):
    """Ticks that last until the test lets them end."""

    body: Callable[[], Awaitable[bool]]

    async def once(self) -> bool:
        return await self.body()


@dataclass
class Process:
    """A supervisor over stubs; `order` says what happened when."""

    order: list[str] = field(default_factory=list)
    clock: StillClock = field(default_factory=StillClock)
    observer: FakeObserver = field(default_factory=FakeObserver)
    grace: float = 5.0
    duties: dict[str, Callable[[], Awaitable[None]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.store = Leases(self.order)
        self.mind = Mind(clock=self.clock, poll_seconds=3600.0, fed_boot=self.clock.boot_seconds())
        self.mind.held = HELD
        self.world = World(
            store=cast("Any", self.store),
            desk=cast("Any", Silence()),
            chain=cast("Any", Silence()),
            signer=cast("Any", Silence()),
            clock=self.clock,
            entropy=cast("Any", None),
            observer=self.observer,
        )
        self.ticker = StubTicker(world=self.world, rules=Rules(), trade=cast("Trade", None), mind=self.mind)
        self.ticker.body = self.nothing
        self.duties = {"web": self.web, **self.duties}

    def supervisor(self) -> Supervisor:
        owner = Owner(holder="h", incarnation=Incarnation("i"), machine="m", folder="f")
        keeper = Keeper(
            world=self.world,
            mind=self.mind,
            owner=owner,
            accounts=(TREASURY,),
            timing=lease.Timing(),
            alone=lambda: True,
        )
        return Supervisor(
            world=self.world,
            mind=self.mind,
            ticker=self.ticker,
            keeper=keeper,
            grace_seconds=self.grace,
            duties=self.duties,
            told=lambda text: self.order.append(f"told: {text}"),
            reload=lambda: self.order.append("reloaded"),
        )

    async def nothing(self) -> bool:
        return False

    async def web(self) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            self.order.append("web ended")


async def endless() -> bool:
    """A tick that never ends."""
    await anyio.sleep_forever()
    return False


async def running(supervisor: Supervisor, then: Callable[[], Awaitable[None]]) -> bool:
    """Run it, do something once it runs, and answer what it returned."""
    answers: list[bool] = []

    async def run() -> None:
        answers.append(await supervisor.run())

    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            group.start_soon(run)
            await anyio.wait_all_tasks_blocked()
            await then()
    return answers[0]


def only(group: pytest.ExceptionInfo[BaseExceptionGroup[Any]]) -> BaseException:
    found: BaseException = group.value
    while isinstance(found, BaseExceptionGroup):
        (found,) = found.exceptions
    return found


async def test_a_stop_lets_the_tick_end_then_releases_then_ends_the_web() -> None:
    """§6.7: stop, the tick ends, leases are released, and the web is last, so that the end can be watched."""
    process = Process()
    may_end = anyio.Event()

    async def long_tick() -> bool:
        await may_end.wait()
        process.order.append("tick ended")
        return True

    process.ticker.body = long_tick
    supervisor = process.supervisor()

    async def stop() -> None:
        supervisor.stop()
        await anyio.wait_all_tasks_blocked()
        assert process.order == ["told: finishing the current tick"]
        may_end.set()

    assert await running(supervisor, stop) is True
    assert process.order[1:] == ["tick ended", "released treasury", "web ended"]
    assert process.mind.held == Held()
    assert not process.mind.task_alive


async def test_a_tick_that_outlasts_the_grace_keeps_the_leases() -> None:
    """§6.7: exit without releasing: the next holder waits out the lease, for the tick may still be at work."""
    process = Process(grace=0.05)
    process.ticker.body = endless
    supervisor = process.supervisor()

    async def stop() -> None:
        supervisor.stop()

    assert await running(supervisor, stop) is False
    assert "released treasury" not in process.order
    assert [event.reason for event in process.observer.events if event.kind is EventKind.STOPPING] == [
        "",
        "grace_over",
    ]


async def test_a_store_that_hangs_at_the_release_does_not_hang_the_stop() -> None:
    """The grace bounds the whole way out."""
    process = Process(grace=0.05)
    process.store.stuck = True
    supervisor = process.supervisor()

    async def stop() -> None:
        supervisor.stop()

    assert await running(supervisor, stop) is False


async def test_a_store_that_is_locked_at_the_release_is_an_end_without_one() -> None:
    """§6.7: another process holds the file: told, nothing is released, and it is no failure of this process."""
    process = Process()
    process.store.locked = True
    supervisor = process.supervisor()

    async def stop() -> None:
        supervisor.stop()

    assert await running(supervisor, stop) is False
    assert "released treasury" not in process.order
    assert process.order[-1] == "web ended"
    assert process.observer.events[-1].reason == "not_released"


async def test_a_duty_that_returns_ends_the_process() -> None:
    """D35: an eternal task that ends is an error, named, and nothing goes on without it."""

    async def ends() -> None:
        await anyio.lowlevel.checkpoint()

    process = Process(duties={"follower": ends})
    with pytest.raises(BaseExceptionGroup) as group, anyio.fail_after(10):
        await process.supervisor().run()
    assert isinstance(only(group), Corrupt)
    assert "follower" in str(only(group))
    assert process.order == ["web ended"]


async def test_a_duty_that_raises_ends_the_process_with_its_error() -> None:
    """D35: the error is the one that ended it."""

    async def fails() -> None:
        raise OSError("the port is gone")

    process = Process(duties={"follower": fails})
    with pytest.raises(BaseExceptionGroup) as group, anyio.fail_after(10):
        await process.supervisor().run()
    assert str(only(group)) == "the port is gone"
    assert "released treasury" not in process.order


async def test_a_tick_that_fails_ends_the_process_and_health_knows() -> None:
    """D35: a storage error in a tick is nobody's to catch; the executor's task is not alive any more."""
    process = Process()

    async def fails() -> bool:
        raise Corrupt("disk I/O error")

    process.ticker.body = fails
    with pytest.raises(BaseExceptionGroup) as group, anyio.fail_after(10):
        await process.supervisor().run()
    assert str(only(group)) == "disk I/O error"
    assert not process.mind.vitals().task_alive


async def test_a_ticker_that_returns_unasked_is_an_error() -> None:
    """D35: the loop just breaking is what killed the original silently."""
    process = Process()

    class Breaking(StubTicker):
        """Its loop just ends."""

        async def run(self) -> None:
            return

    process.ticker = Breaking(
        world=process.world, rules=Rules(), trade=cast("Trade", None), mind=process.mind
    )
    with pytest.raises(BaseExceptionGroup) as group, anyio.fail_after(10):
        await process.supervisor().run()
    assert "ticker" in str(only(group))


async def test_sighup_reloads_and_sigterm_stops() -> None:
    """SIGHUP re-reads what may change and goes on; SIGTERM ends in order."""
    process = Process()
    supervisor = process.supervisor()

    async def signals() -> None:
        os.kill(os.getpid(), signal.SIGHUP)
        while "reloaded" not in process.order:
            await anyio.lowlevel.checkpoint()
        assert not process.mind.stopping
        os.kill(os.getpid(), signal.SIGTERM)

    assert await running(supervisor, signals) is True
    assert process.order[0] == "reloaded"
    assert "released treasury" in process.order


async def test_a_second_signal_hurries() -> None:
    """The first starts the grace, the second ends it: at once, and without releasing."""
    process = Process(grace=3600.0)
    process.ticker.body = endless
    supervisor = process.supervisor()

    async def signals() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        while not process.mind.stopping:
            await anyio.lowlevel.checkpoint()
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(BaseExceptionGroup) as group:
        await running(supervisor, signals)
    assert isinstance(only(group), Hurried)
    assert "released treasury" not in process.order


async def test_a_duty_that_ends_while_stopping_is_no_error() -> None:
    """It was told to."""
    process = Process()
    supervisor = process.supervisor()

    async def until_stopping() -> None:
        while not process.mind.stopping:
            await anyio.lowlevel.checkpoint()

    process.duties["until"] = until_stopping

    async def stop() -> None:
        supervisor.stop()

    async def later() -> None:
        await anyio.lowlevel.checkpoint()
        await stop()

    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            group.start_soon(later)
            assert await supervisor.run() is True
