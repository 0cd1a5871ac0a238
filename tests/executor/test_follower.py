"""Wake-ups from the chain: their silence costs latency only."""

from collections.abc import AsyncIterator
from typing import Any, cast

import anyio
import pytest
from tests.fakes import FakeClock, FakeObserver

from treasuryd.core.events import EventKind
from treasuryd.core.model import Endpoint, Head, Height
from treasuryd.errors import Transient
from treasuryd.executor.follower import follow
from treasuryd.executor.mind import Mind
from treasuryd.ports import World


class Enough(Exception):
    """The test has seen what it wanted."""


class Heads:
    """A chain that gives two heads, fails, gives one more, and then ends the test."""

    def __init__(self) -> None:
        self.rounds = 0

    async def new_heads(self) -> AsyncIterator[Head]:
        self.rounds += 1
        if self.rounds == 3:
            raise Enough
        for _ in range(3 - self.rounds):
            yield Head(endpoint=Endpoint("a"), height=Height(self.rounds), block_hash=None, genesis=None)
        if self.rounds == 1:
            raise Transient("the link is gone")


async def test_each_head_wakes_and_a_failure_is_followed_by_another_look() -> None:
    """After a failed read it waits and looks again; a stream that ends is no error either."""
    clock, observer = FakeClock(), FakeObserver()
    mind = Mind(clock=clock, poll_seconds=5.0, fed_boot=clock.boot_seconds())
    world = World(
        store=cast("Any", None),
        desk=cast("Any", None),
        chain=cast("Any", Heads()),
        signer=cast("Any", None),
        clock=clock,
        entropy=cast("Any", None),
        observer=observer,
    )
    with pytest.raises(Enough):
        await follow(world, mind, retry_seconds=7.0)

    assert clock.slept == [7.0, 7.0]
    assert observer.kinds() == [EventKind.CALL_FAILED]
    with anyio.fail_after(1):
        await mind.rest(60.0)  # woken


async def test_wakes_before_a_rest_are_one_and_none_is_lost() -> None:
    """Several wake-ups before the next rest end it at once; the one after it waits again."""
    clock = FakeClock()
    mind = Mind(clock=clock, poll_seconds=5.0, fed_boot=clock.boot_seconds())
    mind.wake()
    mind.wake()
    with anyio.fail_after(1):
        await mind.rest(60.0)
    with anyio.move_on_after(0.01) as scope:
        await mind.rest(60.0)
    assert scope.cancelled_caught
