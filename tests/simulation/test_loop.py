"""The loop in virtual time: jumps instead of waiting, order from the seed, owners that are stopped."""

import asyncio
import contextvars
import random
import signal
from typing import Any

import anyio
import pytest
from tests.simulation.loop import NOBODY, OWNER, Deadlock, Runaway, VirtualLoop, run


class Someone:
    """An owner of callbacks."""

    def __init__(self) -> None:
        self.dead = self.paused = False
        self.held: list[asyncio.Handle] = []
        self.steps_left = -1
        self.steps: list[int] = []

    def step(self) -> None:
        self.steps_left -= 1
        self.steps.append(self.steps_left)


def owned(loop: VirtualLoop, owner: Someone, work: Any) -> "asyncio.Task[Any]":
    context = contextvars.copy_context()
    context.run(OWNER.set, owner)
    return loop.create_task(work, context=context)


async def _order(count: int) -> list[int]:
    done: list[int] = []

    async def work(number: int) -> None:
        await asyncio.sleep(number % 2)
        done.append(number)

    async with anyio.create_task_group() as group:
        for number in range(count):
            group.start_soon(work, number)
    return done


def test_time_jumps_to_the_next_timer_and_nobody_waits() -> None:
    """An hour of sleep takes no time at all."""
    loop = VirtualLoop(1)
    run(loop, asyncio.sleep(3600.0))
    assert loop.now == 3600.0


def test_a_limit_of_time_is_kept_in_virtual_time() -> None:
    """What anyio builds on the loop's timers works."""

    async def main() -> bool:
        with anyio.move_on_after(5) as scope:
            await asyncio.sleep(100)
        return scope.cancelled_caught

    loop = VirtualLoop(1)
    assert run(loop, main())
    assert loop.now == 5.0


def test_the_seed_decides_the_order_of_what_is_ready() -> None:
    """The same seed gives the same order; among some seeds there are several."""
    orders = [tuple(run(VirtualLoop(seed), _order(8))) for seed in range(6)]
    assert orders == [tuple(run(VirtualLoop(seed), _order(8))) for seed in range(6)]
    assert len(set(orders)) > 1
    assert all(sorted(order) == list(range(8)) for order in orders)


def test_who_waits_for_nothing_is_an_error() -> None:
    """A deadlock is told at once."""

    async def main() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Deadlock):
        run(VirtualLoop(1), main())


def test_who_spins_is_an_error() -> None:
    """A run has an end."""

    async def main() -> None:
        for _ in range(1_000_000):
            await asyncio.sleep(1)

    with pytest.raises(Runaway):
        run(VirtualLoop(1, max_steps=100), main())


def test_a_stopped_owner_goes_on_later_with_all_that_came_due() -> None:
    """The world goes on meanwhile; nothing of what it waited for is lost."""
    loop, owner, heard = VirtualLoop(1), Someone(), []

    async def work() -> None:
        for number in range(3):
            await asyncio.sleep(1)
            heard.append((number, loop.now))

    async def main() -> None:
        task = owned(loop, owner, work())
        await asyncio.sleep(1.5)
        owner.paused = True
        await asyncio.sleep(10)
        assert [number for number, _ in heard] == [0]
        loop.resume(owner)
        await task

    run(loop, main())
    assert heard == [(0, 1.0), (1, 11.5), (2, 12.5)]


def test_an_owners_steps_are_counted_one_by_one_where_somebody_asks() -> None:
    """So that it can be stopped at any of its awaits."""
    loop, owner = VirtualLoop(1), Someone()

    async def work() -> None:
        for _ in range(4):
            await asyncio.sleep(0)

    async def main() -> None:
        owner.steps_left = 10
        await owned(loop, owner, work())

    run(loop, main())
    assert owner.steps == [9, 8, 7, 6, 5]


def test_a_signal_reaches_its_owner_alone() -> None:
    """Each simulated process has handlers of its own."""
    loop, owner, other = VirtualLoop(1), Someone(), Someone()

    async def work() -> list[int]:
        with anyio.open_signal_receiver(signal.SIGTERM) as arriving:
            async for number in arriving:
                return [number]
        return []

    async def main() -> list[int]:
        task: Any = owned(loop, owner, work())
        await asyncio.sleep(1)
        assert not loop.deliver(other, signal.SIGTERM)
        assert loop.deliver(owner, signal.SIGTERM)
        found: list[int] = await task
        assert not loop.deliver(owner, signal.SIGTERM), "it is handled no more"
        return found

    assert run(loop, main()) == [signal.SIGTERM]


def test_where_cancel_scopes_lie_in_memory_decides_no_order() -> None:
    """A group cancels its tasks in the order of their start, wherever the memory for their scopes was found."""

    async def main(freed: list[int]) -> list[int]:
        ended: list[int] = []

        async def work(number: int) -> None:
            try:
                await asyncio.sleep(100)
            finally:
                ended.append(number)

        old: list[anyio.CancelScope | None] = [anyio.CancelScope() for _ in freed]
        async with anyio.create_task_group() as group:
            for place in freed:
                old[place] = None  # what is freed last is used first
            for number in range(20):
                group.start_soon(work, number)
            await asyncio.sleep(1)
            group.cancel_scope.cancel()
        return ended

    chance = random.Random(1)
    orders = {tuple(run(VirtualLoop(1), main(chance.sample(range(40), 40)))) for _ in range(20)}
    assert len(orders) == 1


def test_what_nobody_handles_is_remembered() -> None:
    """An error in a callback fails the history, not the log."""
    loop = VirtualLoop(1)

    async def main() -> None:
        loop.call_soon(lambda: 1 / 0, context=NOBODY)
        await asyncio.sleep(1)

    run(loop, main())
    assert len(loop.unhandled) == 1
    assert "division by zero" in loop.unhandled[0]
