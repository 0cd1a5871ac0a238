"""
An event loop whose time is a number and whose scheduler is a seed.

Nothing ever waits: when no callback is ready, time jumps to the next timer. Which of the ready callbacks runs next is
drawn from the seed, so that the same seed gives the same run. Every callback belongs to an owner (a simulated process,
or nobody), which may be stopped: its callbacks are then kept back while the world goes on.
"""

import asyncio
import heapq
import itertools
import random
from asyncio import events
from collections import deque
from collections.abc import Callable
from contextvars import Context, ContextVar
from typing import Any, Final, Protocol
from unittest.mock import patch

from anyio._backends._asyncio import CancelScope

MAX_CLEANING: Final = 1_000  # rounds of what dead processes still run before time goes on
MAX_STEPS: Final = 400_000  # callbacks of one run: some hundred times what a history takes


class Owner(Protocol):
    """Whose callbacks may be kept back, and who counts them."""

    dead: bool  # killed: what it still runs cleans up, and nothing else
    paused: bool
    held: "list[asyncio.Handle]"
    steps_left: int  # below 0: nobody counts

    def step(self) -> None:
        """Be told that a callback of this owner is about to run: the process is at one of its awaits."""
        ...


OWNER: Final[ContextVar[Owner | None]] = ContextVar("owner", default=None)
NOBODY: Final = Context()  # of callbacks that belong to the world


_numbers = itertools.count()


class NumberedTask(asyncio.Task):  # type: ignore[type-arg]
    """A task whose place in a set does not depend on where it lies in memory: groups cancel theirs in set order."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.number = next(_numbers)
        super().__init__(*args, **kwargs)

    def __hash__(self) -> int:
        return self.number


class Deadlock(AssertionError):
    """Nothing is ready and no timer is set: whoever still waits waits for ever."""


class Runaway(AssertionError):
    """More callbacks ran than any history needs: something spins."""


class VirtualLoop(asyncio.BaseEventLoop):
    """
    An asyncio loop in virtual time.

    Guarantees: the same seed and the same program run the same callbacks in the same order; time never falls and never
        passes by itself; the callbacks of a paused owner run after it was resumed, in the order in which they came due.
    Does not guarantee: first come, first served among ready callbacks. There are no sockets, threads or signals of the
        system; `deliver` sends one of its own.
    """

    def __init__(self, seed: int, *, max_steps: int = MAX_STEPS) -> None:
        global _numbers  # noqa: PLW0603  (each loop counts from the beginning)
        _numbers = itertools.count()
        super().__init__()
        self.set_task_factory(lambda loop, work, **given: NumberedTask(work, loop=loop, **given))
        self._dying: deque[Any] = deque()
        self.now = 0.0
        self.steps = 0
        self.digest = 0
        self._max_steps = max_steps
        self._draw = random.Random(seed).random
        self._clock_resolution = 1e-9
        self._signals: dict[tuple[Owner | None, int], tuple[Callable[..., object], tuple[Any, ...]]] = {}
        self.set_exception_handler(self._unhandled)
        self.unhandled: list[str] = []

    def time(self) -> float:
        """Seconds since the loop began."""
        return self.now

    def _run_once(self) -> None:
        """Run callbacks, one after the other in an order drawn from the seed, until none is ready."""
        ready: Any = self._ready  # type: ignore[attr-defined]
        dying = self._dying
        self._find_work()
        draw, digest, steps = self._draw, self.digest, self.steps
        while ready and not self._stopping:  # type: ignore[attr-defined]
            if dying:
                self._clean_up()
            count = len(ready)
            if count > 1:
                ready.rotate(-int(draw() * count))
            handle = ready.popleft()
            if handle._cancelled:
                continue
            steps += 1
            if steps > self._max_steps:
                raise Runaway(f"{steps} callbacks, and no end at {self.now:.1f} s")
            digest = (digest * 1_000_003 + count) & 0xFFFF_FFFF_FFFF
            owner = handle._context.get(OWNER)
            if owner is not None:
                if owner.paused:
                    owner.held.append(handle)
                    continue
                if owner.steps_left >= 0:
                    owner.step()
            handle._run()
        self.digest, self.steps = digest, steps

    def _find_work(self) -> None:
        """See that something is ready: let the dead clean up, then let time go on."""
        ready: Any = self._ready  # type: ignore[attr-defined]
        for _ in range(MAX_CLEANING):
            if ready or not self._dying:
                break
            self._clean_up()
        if not ready:
            self._jump()

    def _clean_up(self) -> None:
        """Run what dead processes still run, once through: it has no effect, and is no part of the order."""
        for _ in range(len(self._dying)):
            self._dying.popleft()._run()

    def call_soon(  # type: ignore[override]
        self, callback: Any, *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """Queue a callback; the checks of a loop that others run in threads are left out."""
        handle = asyncio.Handle(callback, args, self, context)
        owner = handle._context.get(OWNER)  # type: ignore[attr-defined]
        if owner is not None and owner.dead:
            self._dying.append(handle)
        else:
            self._ready.append(handle)  # type: ignore[attr-defined]
        return handle

    def _jump(self) -> None:
        """Go to the next timer; all that are due at that moment become ready."""
        timers: list[Any] = self._scheduled  # type: ignore[attr-defined]
        while timers:
            timer = heapq.heappop(timers)
            timer._scheduled = False
            if timer._cancelled:
                self._timer_cancelled_count -= 1  # type: ignore[attr-defined]
                continue
            self.now = max(self.now, timer._when)
            self._ready.append(timer)  # type: ignore[attr-defined]
            while timers and timers[0]._when <= self.now:
                timer = heapq.heappop(timers)
                timer._scheduled = False
                self._ready.append(timer)  # type: ignore[attr-defined]
            return
        raise Deadlock(f"nothing is ready and nothing will be, at {self.now:.1f} s")

    def resume(self, owner: Owner) -> None:
        """Let an owner go on: what came due meanwhile runs now."""
        owner.paused = False
        self._ready.extend(owner.held)  # type: ignore[attr-defined]
        owner.held.clear()

    # --- signals, one set of handlers for each owner -------------------------------------------------------

    def add_signal_handler(self, sig: int, callback: Callable[..., object], *args: Any) -> None:  # type: ignore[override]
        """Handle a signal to the current owner."""
        self._signals[OWNER.get(), sig] = (callback, args)

    def remove_signal_handler(self, sig: int) -> bool:
        """Handle it no more."""
        return self._signals.pop((OWNER.get(), sig), None) is not None

    def deliver(self, owner: Owner, sig: int) -> bool:
        """Send a signal to an owner; says whether it is handled."""
        found = self._signals.get((owner, sig))
        if found is not None:
            self.call_soon(found[0], *found[1], context=NOBODY)
        return found is not None

    # --- what a loop has to have ----------------------------------------------------------------------------

    def _unhandled(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.unhandled.append(f"{context.get('message')}: {context.get('exception')!r}")

    def _process_events(self, event_list: Any) -> None:
        del event_list

    def _write_to_self(self) -> None:
        """Nobody sleeps who would have to be woken."""


def _place(scope: Any) -> int:
    """A cancel scope's place in the set of its parent, which cancels in set order: that of its task, not its address."""
    return hash(scope._host_task)


def run(loop: VirtualLoop, main: Any) -> Any:
    """Run a coroutine to its end on a virtual loop, and close the loop."""
    before = events._get_running_loop()
    assert before is None, "a virtual loop runs alone in its thread"
    try:
        with patch.object(CancelScope, "__hash__", _place):
            return loop.run_until_complete(main)
    finally:
        loop.close()
