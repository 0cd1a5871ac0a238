import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from treasuryd.core.breaker import (
    MAX_RETRY_AFTER_SECONDS,
    WINDOW_BUCKETS,
    Breaker,
    BreakerSettings,
    Outcome,
    Permit,
    PermitKind,
    ask,
    cautious,
    force,
    lapsed,
    open_seconds,
    report,
    retuned,
    settle,
    state_at,
)
from treasuryd.core.model import BootSeconds, BreakerMode, BreakerState, CallClass, Endpoint
from treasuryd.errors import Corrupt, Rejected

DEFAULTS = BreakerSettings()


def at(seconds: float) -> BootSeconds:
    return BootSeconds(seconds)


def healthy(wanted: BreakerSettings = DEFAULTS) -> Breaker:
    return Breaker(settings=wanted)


def given_leave(breaker: Breaker, now: float) -> tuple[Breaker, Permit]:
    breaker, permit = ask(breaker, now=at(now))
    assert permit is not None
    return breaker, permit


def call(breaker: Breaker, outcome: Outcome, now: float, **more: Any) -> Breaker:
    breaker, permit = given_leave(breaker, now)
    return settle(breaker, permit, outcome, now=at(now), draw=0.5, **more)


def tripped(now: float = 0.0, wanted: BreakerSettings = DEFAULTS) -> Breaker:
    breaker = healthy(wanted)
    for _ in range(wanted.failure_threshold):
        breaker = call(breaker, Outcome.FAILURE, now)
    return breaker


# --- D24, part by part ----------------------------------------------------------------------------------------


def test_a_dead_endpoint_costs_five_calls_and_not_a_whole_batch() -> None:
    """D24: the original asked once per tick, so that up to 95 more calls hit a dead endpoint."""
    breaker, sent = healthy(), 0
    for _ in range(100):
        breaker, permit = ask(breaker, now=at(1.0))
        if permit is not None:
            sent += 1
            breaker = settle(breaker, permit, Outcome.FAILURE, now=at(1.0), draw=0.5)
    assert sent == 5
    assert breaker.rejections == 95


def test_failures_that_never_come_in_a_row_trip_it_within_the_window() -> None:
    """D24: `window_secs` was never read by the original; here the ratio in the window trips."""
    breaker, calls = healthy(), 0
    while breaker.state is BreakerState.CLOSED:
        outcome = Outcome.FAILURE if calls % 2 else Outcome.SUCCESS
        breaker = call(breaker, outcome, calls)
        calls += 1
        assert breaker.consecutive < DEFAULTS.failure_threshold
    assert calls == DEFAULTS.min_calls


def test_failures_that_left_the_window_do_not_trip_it() -> None:
    """D24: the same failures, spread wider than the window, are forgotten in time."""
    breaker = healthy()
    for number in range(100):
        outcome = Outcome.FAILURE if number % 2 else Outcome.SUCCESS
        breaker = call(breaker, outcome, number * 30.0)
    assert breaker.state is BreakerState.CLOSED
    assert len(breaker.window.older) < WINDOW_BUCKETS


def test_half_open_lets_one_probe_through_at_a_time() -> None:
    """D24: the original's half-open state let everyone through, and so do the libraries' breakers."""
    breaker = tripped()
    answers = []
    for _ in range(50):
        breaker, permit = ask(breaker, now=at(60.0))
        answers.append(permit)
    assert [permit.kind if permit else None for permit in answers] == [PermitKind.PROBE] + [None] * 49
    assert breaker.rejections == 49


def test_one_value_holds_it_all_and_an_old_result_cannot_tear_it() -> None:
    """D24: five separate atomics could disagree; here a late success of the closed time leaves the probe alone."""
    breaker, late = given_leave(healthy(), 0.0)
    for _ in range(5):
        breaker = call(breaker, Outcome.FAILURE, 0.0)
    breaker, probe = given_leave(breaker, 60.0)
    assert settle(breaker, late, Outcome.SUCCESS, now=at(60.1), draw=0.5) is breaker
    assert settle(breaker, late, Outcome.FAILURE, now=at(60.1), draw=0.5) is breaker
    assert breaker.state is BreakerState.HALF_OPEN
    assert breaker.probe == probe


def test_after_a_restart_one_probe_goes_first_and_its_success_closes() -> None:
    """D24: the original's state lived in memory only, so a restart flooded the endpoint that had killed it."""
    breaker, probe = given_leave(cautious(DEFAULTS), 0.0)
    breaker, second = ask(breaker, now=at(0.1))
    assert second is None
    breaker = settle(breaker, probe, Outcome.SUCCESS, now=at(0.2), draw=0.5)
    assert breaker.state is BreakerState.CLOSED


def test_a_restart_into_a_dead_endpoint_costs_one_call() -> None:
    """D24: the first probe after a restart fails, and the breaker is open at once."""
    breaker = call(cautious(DEFAULTS), Outcome.FAILURE, 0.0)
    assert ask(breaker, now=at(1.0))[1] is None


def test_a_forced_state_stored_by_a_person_holds_after_a_restart() -> None:
    """D24: the stored word is applied to the fresh breaker before the first call."""
    breaker = force(cautious(DEFAULTS), BreakerMode.FORCED_OPEN, now=at(0.0))
    assert ask(breaker, now=at(1e9))[1] is None


def test_the_state_is_right_at_the_moment_of_the_scrape() -> None:
    """D24: the original's gauges went stale on its early return; here nobody has to call for the state to move."""
    breaker = tripped(now=100.0)
    reports = [
        report(breaker, endpoint=Endpoint("a"), call_class=CallClass.SEND, now=at(now))
        for now in (100.0, 130.0, 160.0)
    ]
    assert [one.state for one in reports] == [BreakerState.OPEN, BreakerState.OPEN, BreakerState.HALF_OPEN]
    assert [one.reopens_in_seconds for one in reports] == [60.0, 30.0, None]
    assert reports[0].failures == 5
    assert reports[0].transitions == 1


def test_the_counts_of_a_scrape_are_those_since_the_start() -> None:
    """Good calls and refusals are told, too, and a later call of the closed breaker forgets none of them."""
    breaker = ask(tripped(), now=at(1.0))[0]
    for now in (60.0, 61.0, 62.0):
        breaker = call(breaker, Outcome.SUCCESS, now)
    shown = report(breaker, endpoint=Endpoint("a"), call_class=CallClass.SEND, now=at(62.0))
    assert (shown.state, shown.failures, shown.successes, shown.rejections, shown.transitions) == (
        BreakerState.CLOSED, 5, 3, 1, 3,
    )  # fmt: skip


def test_the_breaker_opened_under_injected_failures() -> None:
    """D34: the original's load test passed with a closed breaker although it injected failures."""
    breaker, refused = healthy(), 0
    for number in range(1_000):
        breaker, permit = ask(breaker, now=at(number * 0.01))
        if permit is None:
            refused += 1
        else:
            breaker = settle(breaker, permit, Outcome.FAILURE, now=at(number * 0.01), draw=0.0)
    assert refused == 995
    assert breaker.state is BreakerState.OPEN


# --- what counts ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", [Outcome.IGNORED, Outcome.CANCELLED])
def test_what_says_nothing_of_the_endpoint_changes_nothing(outcome: Outcome) -> None:
    """A cancelled call is no failure, and it breaks no series of failures either."""
    breaker = call(healthy(), Outcome.FAILURE, 0.0)
    assert call(breaker, outcome, 1.0) is breaker


@pytest.mark.parametrize("outcome", [Outcome.IGNORED, Outcome.CANCELLED])
def test_a_probe_that_says_nothing_makes_room_for_the_next(outcome: Outcome) -> None:
    """The permit is given back and neither good nor bad is counted."""
    breaker = call(tripped(), outcome, 60.0)
    assert (breaker.state, breaker.probe_successes, breaker.successes) == (BreakerState.HALF_OPEN, 0, 0)
    given_leave(breaker, 60.0)


def test_a_success_ends_the_series_of_failures() -> None:
    """Five in a row trip, four and four do not."""
    breaker = healthy()
    for outcome in [Outcome.FAILURE] * 4 + [Outcome.SUCCESS] + [Outcome.FAILURE] * 4:
        breaker = call(breaker, outcome, 0.0)
    assert breaker.state is BreakerState.CLOSED
    assert call(breaker, Outcome.FAILURE, 0.0).state is BreakerState.OPEN


def test_slow_answers_trip_by_the_ratio_and_never_as_a_series() -> None:
    """A slow endpoint is alive: it takes the window's minimum of calls to be judged."""
    breaker = healthy()
    for _ in range(DEFAULTS.min_calls - 1):
        breaker = call(breaker, Outcome.SLOW, 0.0)
    assert breaker.state is BreakerState.CLOSED
    breaker = call(breaker, Outcome.SLOW, 0.0)
    assert breaker.state is BreakerState.OPEN
    assert (breaker.successes, breaker.failures) == (20, 0)


def test_a_slow_probe_opens_it_again() -> None:
    """An endpoint that is slow with one call is not ready for all of them."""
    breaker = call(tripped(), Outcome.SLOW, 60.0)
    assert breaker.state is BreakerState.OPEN


def test_two_good_probes_close_it_with_a_clean_memory() -> None:
    """`success_threshold` good probes in a row; the old failures trip nothing afterwards."""
    breaker = call(tripped(), Outcome.SUCCESS, 60.0)
    assert breaker.state is BreakerState.HALF_OPEN
    breaker = call(breaker, Outcome.SUCCESS, 61.0)
    assert breaker.state is BreakerState.CLOSED
    for _ in range(4):
        breaker = call(breaker, Outcome.FAILURE, 62.0)
    assert breaker.state is BreakerState.CLOSED


# --- permits --------------------------------------------------------------------------------------------------


def test_a_probe_that_is_never_returned_expires() -> None:
    """A lost permit must not keep the breaker half-open for ever."""
    breaker, lost = given_leave(tripped(), 60.0)
    assert ask(breaker, now=at(60.0 + DEFAULTS.permit_secs - 0.1))[1] is None
    breaker, second = given_leave(breaker, 60.0 + DEFAULTS.permit_secs)
    assert settle(breaker, lost, Outcome.FAILURE, now=at(180.0), draw=0.5) is breaker
    assert settle(breaker, second, Outcome.FAILURE, now=at(180.0), draw=0.5).state is BreakerState.OPEN


def test_a_probe_settled_twice_counts_once() -> None:
    """Only the probe that is out can move the breaker."""
    breaker, probe = given_leave(tripped(), 60.0)
    once = settle(breaker, probe, Outcome.SUCCESS, now=at(60.1), draw=0.5)
    assert settle(once, probe, Outcome.SUCCESS, now=at(60.2), draw=0.5) is once


def test_an_expired_call_moves_nothing() -> None:
    """What was asked before a machine slept says nothing of the endpoint now."""
    breaker, permit = given_leave(healthy(), 0.0)
    later = at(DEFAULTS.permit_secs)
    assert settle(breaker, permit, Outcome.FAILURE, now=later, draw=0.5) is breaker


def test_asking_a_closed_breaker_copies_nothing() -> None:
    """The healthy path is the hot one."""
    breaker = healthy()
    assert ask(breaker, now=at(5.0))[0] is breaker


# --- how long it stays open -----------------------------------------------------------------------------------


@given(
    openings=st.integers(1, 5_000),
    base=st.floats(0.001, 1e6),
    factor=st.floats(1.0, 1e4),
    draw=st.floats(0, 1, exclude_max=True),
)
def test_the_open_time_doubles_within_its_jitter_up_to_the_cap(
    openings: int, base: float, factor: float, draw: float
) -> None:
    """Within 20 % of the nominal time, never above 1.2 times the cap, however often it opened."""
    cap = base * factor
    seconds = open_seconds(openings, base_seconds=base, cap_seconds=cap, draw=draw)
    nominal = min(cap, base * 2 ** min(openings - 1, 60))
    assert 0.8 * nominal * (1 - 1e-12) <= seconds <= 1.2 * nominal * (1 + 1e-12)
    assert seconds <= 1.2 * cap * (1 + 1e-12)


@pytest.mark.parametrize(
    "wrong",
    [
        {"openings": 0},
        {"base_seconds": 0.0},
        {"base_seconds": 61.0},
        {"cap_seconds": math.inf},
        {"draw": 1.0},
        {"draw": -0.1},
        {"draw": math.nan},
    ],
)
def test_an_open_time_asked_out_of_range_is_our_bug(wrong: dict[str, Any]) -> None:
    """The arguments come from our own code only."""
    arguments: dict[str, Any] = {"openings": 1, "base_seconds": 1.0, "cap_seconds": 60.0, "draw": 0.5} | wrong
    with pytest.raises(Corrupt):
        open_seconds(arguments.pop("openings"), **arguments)


def test_it_stays_open_longer_with_each_failed_probe() -> None:
    """60, 120, 240, 480, then 600 seconds at the cap."""
    breaker, now, waits = tripped(), 0.0, []
    for _ in range(6):
        waits.append(breaker.open_until - now)
        now = breaker.open_until
        breaker = call(breaker, Outcome.FAILURE, now)
    assert waits == [60.0, 120.0, 240.0, 480.0, 600.0, 600.0]


@pytest.mark.parametrize(("held", "expected"), [(299.0, 120.0), (300.0, 60.0)])
def test_a_close_that_held_for_a_window_makes_the_next_open_time_short_again(
    held: float, expected: float
) -> None:
    """A flapping endpoint keeps its long open times, a recovered one starts anew."""
    breaker = call(call(tripped(), Outcome.SUCCESS, 60.0), Outcome.SUCCESS, 60.0)
    for _ in range(5):
        breaker = call(breaker, Outcome.FAILURE, 60.0 + held)
    assert breaker.open_until - (60.0 + held) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        pytest.param(1.0, 1.0, id="it asked for one second"),
        pytest.param(60.0, 60.0, id="a ban of the node"),
        pytest.param(1e12, MAX_RETRY_AFTER_SECONDS, id="nobody silences us for good"),
        pytest.param(math.inf, MAX_RETRY_AFTER_SECONDS, id="nor for ever"),
    ],
)
def test_one_retry_after_is_obeyed_at_once(asked: float, expected: float) -> None:
    """N11: after a ban it is silent until the ban is over; what was asked is no opening of the back-off."""
    breaker = call(healthy(), Outcome.FAILURE, 0.0, retry_after_seconds=asked)
    assert (breaker.state, breaker.open_until, breaker.openings) == (BreakerState.OPEN, expected, 0)
    assert ask(breaker, now=at(expected - 0.5))[1] is None
    given_leave(breaker, expected)


@pytest.mark.parametrize("asked", [0.0, -5.0, math.nan, -math.inf, None])
def test_a_senseless_retry_after_is_an_ordinary_failure(asked: float | None) -> None:
    """It comes from outside: nonsense neither raises nor opens."""
    breaker = call(healthy(), Outcome.FAILURE, 0.0, retry_after_seconds=asked)
    assert breaker.state is BreakerState.CLOSED


@pytest.mark.parametrize(("asked", "expected"), [(10.0, 60.0), (500.0, 500.0)])
def test_a_trip_waits_for_the_longer_of_back_off_and_retry_after(asked: float, expected: float) -> None:
    """The fifth failure in a row carries a Retry-After."""
    breaker = healthy()
    for _ in range(4):
        breaker = call(breaker, Outcome.FAILURE, 0.0)
    assert call(breaker, Outcome.FAILURE, 0.0, retry_after_seconds=asked).open_until == expected


def test_a_failed_probe_obeys_a_retry_after() -> None:
    """Half-open, the longer of both counts too."""
    breaker = call(tripped(), Outcome.FAILURE, 60.0, retry_after_seconds=700.0)
    assert breaker.open_until == 760.0


def test_a_retry_after_on_a_success_means_nothing() -> None:
    """Only a failure may ask for silence."""
    breaker = call(healthy(), Outcome.SUCCESS, 0.0, retry_after_seconds=60.0)
    assert breaker.state is BreakerState.CLOSED


# --- a person's word ------------------------------------------------------------------------------------------


def test_forced_open_refuses_everything_until_a_person_says_otherwise() -> None:
    """The kill switch: no time and no success opens it."""
    breaker, before = given_leave(healthy(), 0.0)
    breaker = force(breaker, BreakerMode.FORCED_OPEN, now=at(1.0))
    assert settle(breaker, before, Outcome.SUCCESS, now=at(1.1), draw=0.5) is breaker
    assert ask(breaker, now=at(1e12))[1] is None
    assert state_at(breaker, at(1e12)) is BreakerState.OPEN
    shown = report(breaker, endpoint=Endpoint("a"), call_class=CallClass.SEND, now=at(2.0))
    assert (shown.mode, shown.reopens_in_seconds) == (BreakerMode.FORCED_OPEN, None)


def test_forced_open_outlasts_the_open_time_that_was_running() -> None:
    """The kill switch on an endpoint that was dead already: its back-off ends, the word does not."""
    breaker = force(tripped(), BreakerMode.FORCED_OPEN, now=at(1.0))
    assert ask(breaker, now=at(60.0))[1] is None


def test_after_forced_open_one_probe_goes_first() -> None:
    """Nobody knows what the endpoint did meanwhile."""
    breaker = force(tripped(), BreakerMode.FORCED_OPEN, now=at(1.0))
    breaker = force(breaker, BreakerMode.AUTO, now=at(2.0))
    breaker, probe = given_leave(breaker, 2.0)
    assert ask(breaker, now=at(2.0))[1] is None
    assert settle(breaker, probe, Outcome.SUCCESS, now=at(2.1), draw=0.5).state is BreakerState.CLOSED


def test_after_a_persons_word_nobody_waits_for_an_older_probe() -> None:
    """Its result would move nothing any more: the next call finds out how the endpoint is."""
    breaker, old = given_leave(tripped(), 60.0)
    breaker = force(breaker, BreakerMode.FORCED_OPEN, now=at(61.0))
    breaker = force(breaker, BreakerMode.AUTO, now=at(62.0))
    breaker, probe = given_leave(breaker, 62.0)
    assert settle(breaker, old, Outcome.SUCCESS, now=at(63.0), draw=0.5) is breaker
    assert settle(breaker, probe, Outcome.SUCCESS, now=at(63.0), draw=0.5).state is BreakerState.CLOSED


def test_forced_closed_lets_all_through_and_counts_for_people() -> None:
    """Failures are counted and trip nothing; afterwards it is closed with a clean memory."""
    breaker = force(tripped(), BreakerMode.FORCED_CLOSED, now=at(1.0))
    for number in range(50):
        breaker = call(breaker, Outcome.FAILURE, number, retry_after_seconds=60.0)
    assert (breaker.state, breaker.failures) == (BreakerState.CLOSED, 55)
    breaker = force(breaker, BreakerMode.AUTO, now=at(60.0))
    assert (breaker.state, breaker.consecutive) == (BreakerState.CLOSED, 0)
    assert call(breaker, Outcome.FAILURE, 60.0).state is BreakerState.CLOSED


def test_metrics_only_shows_what_it_would_do_and_refuses_nobody() -> None:
    """It opens, probes and closes as AUTO does; the calls it would have refused only count."""
    breaker = force(healthy(), BreakerMode.METRICS_ONLY, now=at(0.0))
    for _ in range(5):
        breaker = call(breaker, Outcome.FAILURE, 0.0)
    assert breaker.state is BreakerState.OPEN
    for outcome in Outcome:
        breaker, permit = given_leave(breaker, 1.0)
        assert permit.kind is PermitKind.COUNTED
        breaker = settle(breaker, permit, outcome, now=at(1.0), draw=0.5)
    assert (breaker.state, breaker.failures, breaker.successes) == (BreakerState.OPEN, 6, 2)
    assert breaker.rejections == 0
    breaker, probe = given_leave(breaker, 60.0)
    breaker, beside = given_leave(breaker, 61.0)
    assert (probe.kind, beside.kind) == (PermitKind.PROBE, PermitKind.COUNTED)
    assert beside.expires_at == 61.0 + DEFAULTS.permit_secs
    breaker = settle(breaker, probe, Outcome.SUCCESS, now=at(61.0), draw=0.5)
    assert call(breaker, Outcome.SUCCESS, 61.0).state is BreakerState.CLOSED


def test_metrics_only_taken_back_while_open_goes_on_refusing() -> None:
    """The machine judged all along; only its word did not count."""
    breaker = force(tripped(), BreakerMode.METRICS_ONLY, now=at(1.0))
    breaker = force(breaker, BreakerMode.AUTO, now=at(2.0))
    assert ask(breaker, now=at(3.0))[1] is None


@pytest.mark.parametrize("mode", list(BreakerMode))
def test_the_same_word_again_changes_nothing(mode: BreakerMode) -> None:
    """All stored words are applied again at every reload."""
    breaker = force(tripped(), mode, now=at(1.0))
    assert force(breaker, mode, now=at(2.0)) is breaker


@pytest.mark.parametrize("window_secs", [3_000.0, 30.0])
def test_a_window_of_another_length_slides_like_any_other(window_secs: float) -> None:
    """§7, "and the window works": after a reload too, good calls of long ago do not hide a dead hour."""
    breaker = healthy()
    for number in range(100):
        breaker = call(breaker, Outcome.SUCCESS, 86_400.0 + number)
    breaker = retuned(breaker, replace(DEFAULTS, window_secs=window_secs))
    for number in range(100):
        breaker = call(breaker, Outcome.SUCCESS, 86_600.0 + number)
    now = 86_700.0 + 2 * window_secs
    for number in range(DEFAULTS.min_calls):
        assert breaker.state is BreakerState.CLOSED
        breaker = call(breaker, Outcome.SLOW, now + number / 10)
    assert breaker.state is BreakerState.OPEN


def test_what_was_counted_before_a_reload_stays_counted() -> None:
    """Other thresholds: the failures in a row go on, and so does the window where its length stays."""
    breaker = healthy()
    for _ in range(4):
        breaker = call(breaker, Outcome.FAILURE, 0.0)
    breaker = retuned(breaker, replace(DEFAULTS, min_calls=5, success_threshold=1))
    assert (breaker.consecutive, breaker.failures, breaker.window.bad) == (4, 4, 4)
    assert call(breaker, Outcome.SLOW, 1.0).state is BreakerState.OPEN


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        pytest.param(BreakerMode.FORCED_OPEN, True, id="the kill switch"),
        pytest.param(BreakerMode.FORCED_CLOSED, False, id="forced closed lets all through"),
        pytest.param(BreakerMode.METRICS_ONLY, False, id="refuses nobody"),
    ],
)
def test_a_call_that_has_not_left_when_a_person_speaks_heeds_the_word(
    mode: BreakerMode, *, expected: bool
) -> None:
    """§7, asked per call: leave that was given before the word is none after it."""
    breaker, permit = given_leave(healthy(), 0.0)
    assert lapsed(force(breaker, mode, now=at(1.0)), permit, now=at(1.0)) is expected


def test_metrics_only_keeps_no_call_here_either() -> None:
    """§7: it opened meanwhile, for the record; the call that waited leaves."""
    breaker, permit = given_leave(force(healthy(), BreakerMode.METRICS_ONLY, now=at(0.0)), 0.0)
    for _ in range(5):
        breaker = call(breaker, Outcome.FAILURE, 0.0)
    assert breaker.state is BreakerState.OPEN
    assert not lapsed(breaker, permit, now=at(1.0))


def test_a_call_that_has_not_left_when_the_endpoint_dies_stays_here() -> None:
    """§7: neither beside the open breaker's silence nor beside the probe; after the next close it may leave."""
    breaker, permit = given_leave(healthy(), 0.0)
    assert not lapsed(breaker, permit, now=at(0.0))
    for _ in range(5):
        breaker = call(breaker, Outcome.FAILURE, 0.0)
    assert lapsed(breaker, permit, now=at(1.0))
    breaker, probe = given_leave(breaker, 60.0)
    assert lapsed(breaker, permit, now=at(60.0))
    assert not lapsed(breaker, probe, now=at(60.0))
    breaker = settle(breaker, probe, Outcome.SUCCESS, now=at(60.0), draw=0.5)
    assert not lapsed(call(breaker, Outcome.SUCCESS, 61.0), permit, now=at(61.0))


# --- settings -------------------------------------------------------------------------------------------------


def test_the_defaults_are_those_that_operators_know() -> None:
    """failure_threshold 5, success_threshold 2, timeout_secs 60, window_secs 300."""
    known = (5, 2, 60.0, 300.0)
    assert known == (
        DEFAULTS.failure_threshold,
        DEFAULTS.success_threshold,
        DEFAULTS.timeout_secs,
        DEFAULTS.window_secs,
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("failure_threshold", 0),
        ("success_threshold", 0),
        ("min_calls", 0),
        ("timeout_secs", 0.0),
        ("timeout_secs", math.nan),
        ("window_secs", -1.0),
        ("permit_secs", math.inf),
        ("failure_ratio", 0.0),
        ("failure_ratio", 1.01),
        ("open_cap_secs", 59.0),
        ("open_cap_secs", math.inf),
    ],
)
def test_a_setting_out_of_range_is_named(name: str, value: float) -> None:
    """The operator reads which one and what it may be."""
    with pytest.raises(Rejected, match=name) as caught:
        replace(DEFAULTS, **{name: value})  # type: ignore[arg-type]  # wrong on purpose
    assert caught.value.field == name


def test_the_smallest_legal_settings_are_taken() -> None:
    """A range says what is allowed, its ends included."""
    least = BreakerSettings(
        failure_threshold=1,
        success_threshold=1,
        timeout_secs=0.5,
        window_secs=0.5,
        failure_ratio=1.0,
        min_calls=1,
        open_cap_secs=0.5,
        permit_secs=0.5,
    )
    assert call(healthy(least), Outcome.FAILURE, 0.0).open_until == 0.5


# --- the whole value after each change: nothing of the past may stay behind -----------------------------------


def test_the_first_of_all_breakers_needs_one_good_probe() -> None:
    assert cautious(DEFAULTS) == Breaker(settings=DEFAULTS, state=BreakerState.HALF_OPEN, probe_successes=1)


def test_a_trip_forgets_the_series_the_window_and_earlier_probes() -> None:
    once_good = call(cautious(replace(DEFAULTS, success_threshold=3)), Outcome.FAILURE, 0.0)
    assert once_good.probe_successes == 0
    assert tripped() == Breaker(
        settings=DEFAULTS,
        state=BreakerState.OPEN,
        generation=1,
        failures=5,
        openings=1,
        open_until=at(60.0),
    )


def test_each_probe_has_a_number_of_its_own() -> None:
    breaker, first = given_leave(tripped(), 60.0)
    assert breaker == Breaker(
        settings=DEFAULTS,
        state=BreakerState.HALF_OPEN,
        generation=2,
        failures=5,
        openings=1,
        probe=first,
        probes=1,
    )
    breaker = settle(breaker, first, Outcome.CANCELLED, now=at(60.0), draw=0.5)
    breaker, second = given_leave(breaker, 60.0)
    assert (first.number, second.number) == (1, 2)
    assert settle(breaker, first, Outcome.SUCCESS, now=at(60.0), draw=0.5) is breaker


def test_a_close_leaves_nothing_but_the_counts_for_people() -> None:
    breaker = call(call(tripped(), Outcome.SUCCESS, 60.0), Outcome.SUCCESS, 61.0)
    assert breaker == Breaker(
        settings=DEFAULTS,
        generation=3,
        failures=5,
        successes=2,
        closed_at=at(61.0),
        openings=1,
        probes=2,
    )
    assert call(breaker, Outcome.SUCCESS, 62.0).probes == 2


def test_a_persons_closing_forgets_the_openings_and_a_persons_opening_the_probes() -> None:
    breaker = call(tripped(), Outcome.SUCCESS, 60.0)  # half-open, one good probe
    closed = force(breaker, BreakerMode.FORCED_CLOSED, now=at(61.0))
    assert closed == Breaker(
        settings=DEFAULTS,
        mode=BreakerMode.FORCED_CLOSED,
        generation=3,
        failures=5,
        successes=1,
        closed_at=at(61.0),
        probes=1,
    )
    assert force(tripped(), BreakerMode.FORCED_CLOSED, now=at(1.0)).open_until == math.inf
    again = force(force(breaker, BreakerMode.FORCED_OPEN, now=at(61.0)), BreakerMode.AUTO, now=at(62.0))
    assert (again.state, again.openings, again.probe_successes) == (BreakerState.HALF_OPEN, 0, 1)


def test_a_close_on_a_series_of_failures_starts_a_new_series() -> None:
    """Forced closed in the middle of a series: the old failures and the old window trip nothing."""
    breaker = healthy()
    for _ in range(4):
        breaker = call(breaker, Outcome.FAILURE, 0.0)
    breaker = force(breaker, BreakerMode.FORCED_CLOSED, now=at(1.0))
    assert (breaker.consecutive, breaker.window) == (0, Breaker(settings=DEFAULTS).window)


def test_a_silence_asked_for_after_a_stable_time_starts_the_back_off_anew() -> None:
    breaker = call(call(tripped(), Outcome.SUCCESS, 60.0), Outcome.SUCCESS, 61.0)
    breaker = call(breaker, Outcome.FAILURE, 361.0, retry_after_seconds=10.0)
    assert call(breaker, Outcome.FAILURE, 371.0).open_until == 371.0 + 60.0


def test_a_slow_answer_asks_for_no_silence() -> None:
    short = replace(DEFAULTS, timeout_secs=0.5, open_cap_secs=0.5)
    assert call(cautious(short), Outcome.SLOW, 0.0).open_until == 0.5


def test_a_report_names_its_endpoint_and_class() -> None:
    shown = report(healthy(), endpoint=Endpoint("a"), call_class=CallClass.SEND, now=at(0.0))
    assert (shown.endpoint, shown.call_class) == ("a", CallClass.SEND)


@given(
    calls=st.lists(
        st.tuples(st.sampled_from([0.0, 0.0, 1.0, 7.0, 30.0, 90.0]), st.booleans()), min_size=1, max_size=80
    ),
    start=st.sampled_from([0.0, 3_000.0]),
    ratio=st.sampled_from([0.25, 0.5, 1.0]),
)
@settings(max_examples=400, deadline=None, derandomize=True)
def test_the_ratio_counts_the_calls_of_the_window_and_no_others(
    calls: list[tuple[float, bool]], start: float, ratio: float
) -> None:
    """Against a list of all calls: only the last ten tenths of the window count."""
    wanted = replace(DEFAULTS, failure_threshold=1_000, failure_ratio=ratio, min_calls=6)
    breaker, now, told = healthy(wanted), start, []
    for seconds, good in calls:
        now += seconds
        told.append((int(now // 30), good))
        breaker = call(breaker, Outcome.SUCCESS if good else Outcome.SLOW, now)
        recent = [well for slot, well in told if slot > int(now // 30) - WINDOW_BUCKETS]
        due = not good and len(recent) >= 6 and recent.count(False) >= ratio * len(recent)
        assert (breaker.state is BreakerState.OPEN) is due
        assert len(breaker.window.older) < WINDOW_BUCKETS
        if due:
            return


# --- against an independent model -----------------------------------------------------------------------------

SMALL = BreakerSettings(
    failure_threshold=3,
    success_threshold=2,
    timeout_secs=10.0,
    window_secs=50.0,
    failure_ratio=0.5,
    min_calls=4,
    open_cap_secs=35.0,
    permit_secs=20.0,
)


class Model:
    """
    What protocol.md §7 says, told once more: with lists of all that happened instead of counters, and in plain words.

    `history` holds (time, went well) since the last close; the open time is taken over from the value under test
    after its range was checked.
    """

    def __init__(self) -> None:
        self.mode = BreakerMode.AUTO
        self.phase = "half"
        self.changes = 0
        self.good_probes_missing = 1
        self.history: list[tuple[float, str]] = []
        self.wait_until = math.inf
        self.trips_since_stable = 0
        self.closed_since = -math.inf
        self.out: dict[int, tuple[str, int, float]] = {}  # token -> (kind, changes, expiry)
        self.probe: int | None = None
        self.lifetime = {"failure": 0, "success": 0, "refused": 0}

    def asks(self, token: int, now: float) -> bool:
        if self.phase == "open" and now >= self.wait_until:
            self.phase, self.good_probes_missing = "half", SMALL.success_threshold
            self.changes += 1
        if self.phase == "closed":
            kind = "counted" if self.mode is BreakerMode.FORCED_CLOSED else "call"
        elif self.phase == "half" and (self.probe is None or now >= self.out[self.probe][2]):
            kind, self.probe = "probe", token
        elif self.mode is BreakerMode.METRICS_ONLY:
            kind = "counted"
        else:
            self.lifetime["refused"] += 1
            return False
        self.out[token] = (kind, self.changes, now + SMALL.permit_secs)
        return True

    def expected_open_time(self, token: int, outcome: Outcome, now: float, asked: float) -> str | None:
        """Settle; answers None (stays), "trip" (opens for its back-off) or "silence" (opens as it was asked)."""
        kind, changes, expiry = self.out[token]
        if changes != self.changes or now >= expiry or (kind == "probe" and token != self.probe):
            return None
        if kind == "probe":
            self.probe = None
        if outcome in (Outcome.IGNORED, Outcome.CANCELLED):
            return None
        self.lifetime["failure" if outcome is Outcome.FAILURE else "success"] += 1
        if kind == "counted":
            return None
        if kind == "probe":
            return self._probe_result(outcome, now)
        self.history.append((now, outcome.value))
        return self._verdict_while_closed(now, asked)

    def _probe_result(self, outcome: Outcome, now: float) -> str | None:
        if outcome is not Outcome.SUCCESS:
            return "trip"
        self.good_probes_missing -= 1
        if self.good_probes_missing == 0:
            self.close(now)
            self.changes += 1
        return None

    def _verdict_while_closed(self, now: float, asked: float) -> str | None:
        last = [outcome for _, outcome in self.history[-SMALL.failure_threshold :]]
        if last == ["failure"] * SMALL.failure_threshold:
            return "trip"
        step = SMALL.window_secs / WINDOW_BUCKETS
        first = (now // step - WINDOW_BUCKETS + 1) * step
        recent = [outcome for moment, outcome in self.history if moment >= first]
        bad = sum(outcome != "success" for outcome in recent)
        crowded = len(recent) >= SMALL.min_calls and bad >= len(recent) * SMALL.failure_ratio
        if self.history[-1][1] != "success" and crowded:
            return "trip"
        return "silence" if self.history[-1][1] == "failure" and asked > 0 else None

    def close(self, now: float) -> None:
        self.phase, self.history, self.closed_since, self.probe = "closed", [], now, None

    def opens(self, why: str, now: float) -> None:
        if self.phase == "closed" and now - self.closed_since >= SMALL.window_secs:
            self.trips_since_stable = 0
        self.trips_since_stable += why == "trip"
        self.phase = "open"
        self.changes += 1

    def is_told(self, mode: BreakerMode, now: float) -> None:
        if mode is self.mode:
            return
        was, self.mode, self.probe = self.mode, mode, None
        self.changes += 1
        if mode is BreakerMode.FORCED_OPEN:
            self.phase, self.wait_until = "open", math.inf
        elif mode is BreakerMode.FORCED_CLOSED:
            self.close(now)
            self.trips_since_stable = 0
        elif was is BreakerMode.FORCED_OPEN:
            self.phase, self.good_probes_missing, self.trips_since_stable = "half", 1, 0


def test_a_slow_probe_reopens_for_the_ordinary_time_whatever_it_asked() -> None:
    """Retry-After is heeded with a failure alone; found by the model below."""
    breaker, permit = ask(cautious(SMALL), now=at(1_000.0))
    assert permit is not None
    breaker = settle(breaker, permit, Outcome.SLOW, now=at(1_000.0), draw=0.0, retry_after_seconds=40.0)
    assert breaker.open_until < 1_040.0


PHASES = {"closed": BreakerState.CLOSED, "open": BreakerState.OPEN, "half": BreakerState.HALF_OPEN}


class BreakerAgainstModel(RuleBasedStateMachine):
    """Any history of time, calls, late results, lost permits and forced states ends the same in both."""

    @initialize()
    def start(self) -> None:
        self.now = 1_000.0
        self.breaker = cautious(SMALL)
        self.model = Model()
        self.permits: dict[int, Permit] = {}
        self.tokens = 0

    @rule(seconds=st.sampled_from([0.5, 1.0, 5.0, 12.0, 20.0, 55.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def a_call_asks(self) -> None:
        self.tokens += 1
        self.breaker, permit = ask(self.breaker, now=at(self.now))
        assert self.model.asks(self.tokens, self.now) == (permit is not None)
        if permit is not None:
            self.permits[self.tokens] = permit
            assert permit.kind.value == self.model.out[self.tokens][0]

    @precondition(lambda self: self.permits)
    @rule(
        data=st.data(),
        outcome=st.sampled_from([*Outcome, Outcome.FAILURE, Outcome.FAILURE]),
        asked=st.sampled_from([0.0, 0.0, 0.0, 3.0, 40.0]),
        draw=st.floats(0, 1, exclude_max=True),
        again=st.booleans(),
    )
    def a_call_settles(
        self, data: st.DataObject, outcome: Outcome, asked: float, draw: float, again: bool
    ) -> None:
        token = data.draw(st.sampled_from(sorted(self.permits)))
        permit = self.permits[token]
        self.breaker = settle(
            self.breaker, permit, outcome, now=at(self.now), draw=draw, retry_after_seconds=asked
        )
        asked = asked if outcome is Outcome.FAILURE else 0.0
        why = self.model.expected_open_time(token, outcome, self.now, asked)
        if why is not None:
            self.model.opens(why, self.now)
            self._check_open_time(why, asked if outcome is Outcome.FAILURE else 0.0)
        if permit.kind is not PermitKind.PROBE or not again:  # a probe may even be settled twice
            del self.permits[token]

    def _check_open_time(self, why: str, asked: float) -> None:
        waits = self.breaker.open_until - self.now
        nominal = min(35.0, 10.0 * 2 ** (self.model.trips_since_stable - 1))
        if why == "silence":
            assert waits == pytest.approx(asked)
        else:
            assert max(0.8 * nominal, asked) - 1e-6 <= waits <= max(1.2 * nominal, asked) + 1e-6
        self.model.wait_until = self.breaker.open_until

    @rule(mode=st.sampled_from([*BreakerMode, BreakerMode.AUTO]))
    def a_person_speaks(self, mode: BreakerMode) -> None:
        self.breaker = force(self.breaker, mode, now=at(self.now))
        self.model.is_told(mode, self.now)

    @invariant()
    def both_stand_the_same(self) -> None:
        if not hasattr(self, "model"):
            return
        shown = report(self.breaker, endpoint=Endpoint("a"), call_class=CallClass.READ, now=at(self.now))
        due = self.model.phase == "open" and self.now >= self.model.wait_until
        assert shown.state is (BreakerState.HALF_OPEN if due else PHASES[self.model.phase])
        assert (shown.mode, shown.transitions) == (self.model.mode, self.model.changes)
        assert {
            "failure": shown.failures,
            "success": shown.successes,
            "refused": shown.rejections,
        } == self.model.lifetime
        assert len(self.breaker.window.older) < WINDOW_BUCKETS


BreakerAgainstModel.TestCase.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
TestBreakerAgainstModel = BreakerAgainstModel.TestCase
