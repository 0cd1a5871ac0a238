import asyncio
import contextlib
import gc

import pytest
from tests.chain.world import FakeClock, FakeEntropy, Seen

from treasuryd.chain.guard import BreakerOpen, Guard
from treasuryd.chain.transport import HttpRefused, Lost, NotMade
from treasuryd.core.breaker import BreakerSettings, Outcome
from treasuryd.core.events import EventKind, Severity
from treasuryd.core.model import (
    CALL_SECONDS,
    BreakerMode,
    BreakerState,
    CallClass,
    CallOutcome,
    Endpoint,
    Meaning,
)


class Guarded:
    def __init__(self, **settings: float) -> None:
        self.clock = FakeClock()
        self.seen = Seen()
        self.entropy = FakeEntropy()
        self.guard = Guard(
            Endpoint("node"),
            CallClass.SEND,
            settings=BreakerSettings(**settings),  # type: ignore[arg-type]  # a test names few of them
            slow_seconds=8.0,
            clock=self.clock,
            entropy=self.entropy,
            observer=self.seen,
        )

    def succeed(self) -> None:
        with self.guard.admit():
            pass

    def fail(self, error: BaseException | None = None) -> None:
        with pytest.raises(type(error or Lost("gone"))), self.guard.admit():
            raise error or Lost("gone")

    def state(self) -> BreakerState:
        return self.guard.report().state


@pytest.fixture
def guarded() -> Guarded:
    """One that has had its first, cautious probe."""
    one = Guarded()
    one.succeed()
    return one


def test_a_start_is_cautious_one_probe_first() -> None:
    """D24: state was lost at restart and everything flooded through; here a second call waits for the first."""
    one = Guarded()
    with one.guard.admit():
        with pytest.raises(BreakerOpen):
            one.guard.admit()
        assert BreakerState.HALF_OPEN is one.state()
    assert BreakerState.CLOSED is one.state()


def test_a_dead_endpoint_is_called_no_more_after_the_threshold(guarded: Guarded) -> None:
    """D24: asked once per tick, up to 95 more calls hit a dead endpoint; it is asked for each call."""
    for _ in range(5):
        guarded.fail()
    for _ in range(95):
        with pytest.raises(BreakerOpen):
            guarded.guard.admit()
    assert guarded.guard.report().failures == 5
    assert guarded.guard.report().rejections == 95


def test_half_open_lets_one_through_at_a_time(guarded: Guarded) -> None:
    """D24: half-open let everyone through."""
    for _ in range(5):
        guarded.fail()
    guarded.clock.now += 100
    first = guarded.guard.admit()
    for _ in range(10):
        with pytest.raises(BreakerOpen):
            guarded.guard.admit()
    with first:
        pass
    assert BreakerState.HALF_OPEN is guarded.state()
    guarded.succeed()
    assert BreakerState.CLOSED is guarded.state()


def test_the_window_works(guarded: Guarded) -> None:
    """D24: `window_secs` was never read; failures that never come five in a row trip by their share of the window."""
    calls = 0
    while guarded.state() is BreakerState.CLOSED and calls < 100:
        guarded.succeed() if calls % 2 else guarded.fail()
        calls += 1
        guarded.clock.now += 1
    assert BreakerState.OPEN is guarded.state()


def test_failures_older_than_the_window_do_not_trip(guarded: Guarded) -> None:
    """D24: the same share of failures, spread wider than the window, opens nothing."""
    for call in range(60):
        guarded.succeed() if call % 2 else guarded.fail()
        guarded.clock.now += 60
    assert BreakerState.CLOSED is guarded.state()


def test_the_report_is_right_at_the_moment_of_the_scrape(guarded: Guarded) -> None:
    """D24: gauges went stale; here an open time that has run out shows without any call."""
    for _ in range(5):
        guarded.fail()
    assert BreakerState.OPEN is guarded.state()
    guarded.clock.now += 1000
    assert BreakerState.HALF_OPEN is guarded.state()


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(asyncio.CancelledError(), id="cancelled"),
        pytest.param(NotMade("our own limit"), id="never sent"),
        pytest.param(ValueError("a bug"), id="our bug"),
    ],
)
def test_what_says_nothing_of_the_endpoint_counts_nothing_and_returns_the_permit(
    guarded: Guarded, error: BaseException
) -> None:
    """Cancellation and our own refusals are no failures (protocol.md §7); the permit is back for the next call."""
    for _ in range(20):
        guarded.fail(error)
    report = guarded.guard.report()
    assert (report.state, report.failures, report.successes) == (BreakerState.CLOSED, 0, 1)


@pytest.mark.parametrize("error", [asyncio.CancelledError(), NotMade("kept here"), KeyError("bug")])
def test_a_probe_that_came_to_nothing_leaves_room_for_the_next(error: BaseException) -> None:
    """A permit always comes back: a cancelled probe must not keep the breaker half-open for ever."""
    one = Guarded()
    one.fail(error)
    one.succeed()
    assert BreakerState.CLOSED is one.state()


def test_an_abandoned_permit_expires() -> None:
    """A permit that is never returned expires (protocol.md §7)."""
    one = Guarded()
    one.guard.admit()
    gc.collect()
    with pytest.raises(BreakerOpen):
        one.guard.admit()
    one.clock.now += 121
    one.succeed()


def test_slow_answers_at_their_normal_level_do_not_trip(guarded: Guarded) -> None:
    """N16: a verdict can take 1.5 s, a call after a closed stream one second more; only far above counts as slow."""
    for _ in range(100):
        with guarded.guard.admit():
            guarded.clock.now += 2.5
    assert BreakerState.CLOSED is guarded.state()
    for _ in range(200):
        if guarded.state() is not BreakerState.CLOSED:
            break
        with guarded.guard.admit():
            guarded.clock.now += 9.0
    assert BreakerState.OPEN is guarded.state()


def test_retry_after_is_honoured(guarded: Guarded) -> None:
    """A 429 with Retry-After opens the breaker for at least that long."""
    guarded.fail(HttpRefused("429", meaning=Meaning.RATE_LIMITED, retry_after_seconds=300.0))
    guarded.clock.now += 299
    with pytest.raises(BreakerOpen):
        guarded.guard.admit()
    guarded.clock.now += 2
    guarded.succeed()


def test_several_daemons_do_not_return_in_step() -> None:
    """§7: the open time is drawn anew each time, within a fifth of the nominal one."""
    waits = []
    for draw in (0.0, 0.999):
        one = Guarded()
        one.entropy.draw = lambda draw=draw: draw  # type: ignore[method-assign,misc]  # the ends of its range
        one.succeed()
        for _ in range(5):
            one.fail()
        waits.append(one.guard.report().reopens_in_seconds)
    assert waits == [pytest.approx(48.0), pytest.approx(72.0, abs=0.1)]


def test_a_person_opens_and_closes_it(guarded: Guarded) -> None:
    """The kill switch refuses every call and does not time out."""
    guarded.guard.force(BreakerMode.FORCED_OPEN)
    guarded.clock.now += 1e6
    with pytest.raises(BreakerOpen, match="until a person"):
        guarded.guard.admit()
    guarded.guard.force(BreakerMode.AUTO)
    guarded.succeed()
    assert BreakerMode.AUTO is guarded.guard.report().mode


def test_each_change_of_state_is_told_once(guarded: Guarded) -> None:
    """The observer hears of the opening with its names, loud enough for an alert."""
    for _ in range(5):
        guarded.fail()
    told = [(event.reason, event.severity) for event in guarded.seen.of(EventKind.BREAKER_CHANGED)]
    assert told == [("closed", Severity.INFO), ("open", Severity.WARNING)]
    assert guarded.seen.events[-1].fields["class"] == "send"


def test_a_call_may_say_that_it_proves_nothing(guarded: Guarded) -> None:
    """An ability that is absent costs no failure and is no success (N17)."""
    with guarded.guard.admit() as call:
        call.outcome = Outcome.IGNORED
    assert guarded.guard.report().successes == 1


def test_each_call_is_counted_by_what_came_of_it(guarded: Guarded) -> None:
    """Cancelled and never sent say nothing of the node; a refusal of ours is no call."""
    guarded.succeed()
    for error in (Lost("gone"), NotMade("too late"), asyncio.CancelledError()):
        guarded.fail(error)
    guarded.guard.force(BreakerMode.FORCED_OPEN)
    with pytest.raises(BreakerOpen):
        guarded.guard.admit()
    assert guarded.guard.report().calls.outcomes == {
        CallOutcome.SUCCESS: 2,
        CallOutcome.FAILURE: 1,
        CallOutcome.IGNORED: 2,
        CallOutcome.REJECTED: 1,
    }


def test_calls_that_left_are_timed_without_their_wait_for_the_limiter(guarded: Guarded) -> None:
    """A slow answer counts as an answer; what never left has no duration; nothing is too long to be told."""
    for waited, took, error in (
        (5.0, 0.004, None),
        (0.0, 9.0, None),
        (0.0, 0.004, Lost("gone")),
        (0.0, 500.0, None),
        (3.0, 0.0, NotMade("too late")),
    ):
        with contextlib.suppress(Lost, NotMade), guarded.guard.admit() as call:
            guarded.clock.now += waited
            call.starts()
            guarded.clock.now += took
            if error is not None:
                raise error
    calls = guarded.guard.report().calls
    assert calls.outcomes[CallOutcome.SUCCESS] == 4
    assert (calls.made, sum(calls.within)) == (4, 3)
    assert calls.within[CALL_SECONDS.index(0.005)] == 2
    assert calls.within[CALL_SECONDS.index(10.0)] == 1
    assert calls.seconds == pytest.approx(509.008)
