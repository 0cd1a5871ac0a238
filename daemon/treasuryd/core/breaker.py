"""
The circuit breaker as a value: (breaker, outcome, now) -> breaker (protocol.md §7).

It exists because a dead endpoint must cost one call now and then, not one per payment, and because the breakers
of the libraries admit every waiting call at once when they try again, or count a call that was cancelled.
The thin async guard around the calls lives with the chain adapter; here is no clock, no chance and no await.
"""

import math
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from treasuryd.core.model import BootSeconds, BreakerMode, BreakerReport, BreakerState, CallClass, Endpoint
from treasuryd.errors import Corrupt, Rejected

WINDOW_BUCKETS: Final = 10  # the window slides in steps of a tenth of itself and costs ten pairs of numbers
MAX_RETRY_AFTER_SECONDS: Final = 900.0  # an endpoint may ask for silence, it may not silence us for good
QUEUED_SECONDS: Final = 5.0  # what a permitted call waits at most for our own limiter before it leaves
JITTER: Final = 0.2  # of the open time, either way: several daemons must not return in step
FOREVER: Final = BootSeconds(math.inf)
_NEVER: Final = BootSeconds(-math.inf)


class Outcome(StrEnum):
    """What came of a permitted call; the guard classifies, by protocol.md §7 ("what counts")."""

    SUCCESS = "success"  # the endpoint answered well-formed, a refusal included
    FAILURE = "failure"  # connection error, timeout, 5xx, 429, malformed reply
    SLOW = "slow"  # well-formed, but later than it should be
    IGNORED = "ignored"  # says nothing of the endpoint: never sent, our own limit, an ability it lacks
    CANCELLED = "cancelled"  # we gave up


class PermitKind(StrEnum):
    """Why a call was let through."""

    CALL = "call"  # the breaker is closed
    PROBE = "probe"  # the one call that finds out whether the endpoint is back
    COUNTED = "counted"  # a person's word let it through: counted for people, moves nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerSettings:
    """
    When a breaker trips and how long it stays open; seconds by the boot clock.

    Raises: Rejected, naming the setting, when one is out of its range.
    """

    failure_threshold: int = 5  # failures in a row that trip it, 1 …
    success_threshold: int = 2  # good probes in a row that close it, 1 …
    timeout_secs: float = 60.0  # the first open time; doubles with every further opening
    window_secs: float = 300.0  # how far back the failure ratio looks
    failure_ratio: float = 0.5  # of the window's calls, 0 < ratio <= 1; slow ones count as failed here
    min_calls: int = 20  # below so many calls in the window a ratio means nothing, 1 …
    open_cap_secs: float = 600.0  # the open time stops growing here (before jitter), >= timeout_secs
    permit_secs: float = 120.0  # a permit not returned by then is void; above the longest call

    def __post_init__(self) -> None:
        for name in ("failure_threshold", "success_threshold", "min_calls"):
            _require(name, getattr(self, name) >= 1, "at least 1")
        for name in ("timeout_secs", "window_secs", "permit_secs"):
            value = getattr(self, name)
            _require(name, math.isfinite(value) and value > 0, "a number of seconds above 0")
        _require("failure_ratio", 0 < self.failure_ratio <= 1, "above 0 and at most 1")
        capped = math.isfinite(self.open_cap_secs) and self.open_cap_secs >= self.timeout_secs
        _require("open_cap_secs", capped, f"finite and at least timeout_secs ({self.timeout_secs})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Permit:
    """Leave for one call; to be settled exactly once. `number` tells the probes of one generation apart."""

    kind: PermitKind
    generation: int
    number: int
    expires_at: BootSeconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """
    Good and bad calls of the last `window_secs`, in WINDOW_BUCKETS steps.

    Bounded: at most WINDOW_BUCKETS - 1 older steps (slot, good, bad) beside the current one.
    """

    slot: int = 0
    good: int = 0
    bad: int = 0
    older: tuple[tuple[int, int, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """
    One breaker of one endpoint and call class, at one moment.

    Guarantees: while half-open one probe is out at a time; a result of an older generation, of an expired permit or
    of a probe already settled changes nothing; memory does not grow with calls.
    Does not guarantee: that a permit of a closed breaker is settled once only; the guard sees to that.
    """

    settings: BreakerSettings
    mode: BreakerMode = BreakerMode.AUTO
    state: BreakerState = BreakerState.CLOSED
    generation: int = 0  # changes of state or mode so far: the count of transitions
    consecutive: int = 0  # failures in a row while closed
    window: Window = field(default_factory=Window)
    failures: int = 0  # since start, for people
    successes: int = 0  # since start, for people; slow ones among them
    rejections: int = 0  # calls refused since start
    closed_at: BootSeconds = _NEVER  # of the last close
    openings: int = 0  # since the last close that held for a whole window
    open_until: BootSeconds = FOREVER  # while open
    probe: Permit | None = None  # the one that is out
    probes: int = 0  # given so far
    probe_successes: int = 0  # in a row while half-open


def cautious(settings: BreakerSettings) -> Breaker:
    """
    Make the breaker of a process that has just started: one probe first, and its success closes it.

    What ran before may have died of this very endpoint; nothing is known, so nothing is flooded.
    """
    return Breaker(
        settings=settings,
        state=BreakerState.HALF_OPEN,
        probe_successes=settings.success_threshold - 1,
    )


def ask(breaker: Breaker, *, now: BootSeconds) -> tuple[Breaker, Permit | None]:
    """
    Ask leave for one call; None is a no, which was counted as a rejection.

    Guarantees: closed, it hands back the very same breaker.
    """
    if breaker.state is BreakerState.CLOSED:
        kind = PermitKind.COUNTED if breaker.mode is BreakerMode.FORCED_CLOSED else PermitKind.CALL
        return breaker, _permit(breaker, kind, now)
    if breaker.state is BreakerState.OPEN:
        if now < breaker.open_until:
            return _refuse(breaker, now)
        breaker = _half_open(breaker)
    if breaker.probe is not None and now < breaker.probe.expires_at:
        return _refuse(breaker, now)
    breaker = replace(breaker, probes=breaker.probes + 1)
    permit = _permit(breaker, PermitKind.PROBE, now)
    return replace(breaker, probe=permit), permit


def lapsed(breaker: Breaker, permit: Permit, *, now: BootSeconds) -> bool:
    """
    Say whether a call that was let through and has not left yet may not leave any more.

    So it is once the breaker opened, or a person opened it, while the call waited for its turn.
    """
    if breaker.mode is BreakerMode.METRICS_ONLY:
        return False
    overtaken = permit.generation != breaker.generation
    return overtaken and state_at(breaker, now) is not BreakerState.CLOSED


def settle(
    breaker: Breaker,
    permit: Permit,
    outcome: Outcome,
    *,
    now: BootSeconds,
    draw: float,
    retry_after_seconds: float | None = None,
) -> Breaker:
    """
    Give a permit back with what came of its call.

    Args: draw in [0, 1), chance for the jitter, brought by the caller; retry_after_seconds as the endpoint asked
        (any float, as untrusted as its sender; heeded with FAILURE only, up to MAX_RETRY_AFTER_SECONDS).
    Guarantees: a permit of an older generation, or an expired one, hands back the very same breaker.
    """
    if permit.generation != breaker.generation or now >= permit.expires_at:
        return breaker
    silence = asked_silence(retry_after_seconds) if outcome is Outcome.FAILURE else 0.0
    if permit.kind is PermitKind.CALL:
        return _settle_call(breaker, outcome, now, draw, silence)
    if permit.kind is PermitKind.COUNTED:
        return _counted(breaker, outcome)
    if permit != breaker.probe:
        return breaker
    return _settle_probe(breaker, outcome, now, draw, silence)


def force(breaker: Breaker, mode: BreakerMode, *, now: BootSeconds) -> Breaker:
    """
    Apply a person's word; the same word again changes nothing.

    FORCED_OPEN refuses all, FORCED_CLOSED lets all through, METRICS_ONLY judges as AUTO does and refuses nobody.
    After FORCED_OPEN it goes on cautiously (one probe), after FORCED_CLOSED closed with a clean window.
    """
    if mode is breaker.mode:
        return breaker
    was_forced_open = breaker.mode is BreakerMode.FORCED_OPEN
    breaker = replace(breaker, mode=mode, generation=breaker.generation + 1, probe=None)
    if mode is BreakerMode.FORCED_OPEN:
        return replace(breaker, state=BreakerState.OPEN, open_until=FOREVER)
    if mode is BreakerMode.FORCED_CLOSED:
        return replace(_clean(breaker, now), openings=0)
    if was_forced_open:
        nearly = breaker.settings.success_threshold - 1
        return replace(breaker, state=BreakerState.HALF_OPEN, openings=0, probe_successes=nearly)
    return breaker


def asked_silence(retry_after_seconds: float | None) -> float:
    """Read a Retry-After as seconds within 0 … MAX_RETRY_AFTER_SECONDS; nonsense is none."""
    if retry_after_seconds is None or not retry_after_seconds > 0:
        return 0.0
    return min(retry_after_seconds, MAX_RETRY_AFTER_SECONDS)


def retuned(breaker: Breaker, settings: BreakerSettings) -> Breaker:
    """
    Go on with other thresholds and times; what was counted so far stays counted.

    A window of another length begins empty: its steps are counted from the boot in tenths of the length, so the old ones
    would lie in the future of a longer one, and never leave it.
    """
    same = settings.window_secs == breaker.settings.window_secs
    return replace(breaker, settings=settings, window=breaker.window if same else Window())


def open_seconds(openings: int, *, base_seconds: float, cap_seconds: float, draw: float) -> float:
    """
    Say how long the breaker stays open this time.

    Args: openings since the last stable close (>= 1); base_seconds (s, > 0) for the first of them;
        cap_seconds (s, >= base_seconds); draw in [0, 1), brought by the caller so that a seed replays.
    Returns: seconds, within 20 % of min(cap_seconds, base_seconds * 2 ** (openings - 1)).
    Raises: Corrupt when an argument is out of its range, which is our bug and nobody's input.
    Guarantees: never longer than 1.2 * cap_seconds. Does not guarantee: that the node is back.
    Source: protocol.md §7; the growing ejection time of Envoy's outlier detection.
    """
    if openings < 1 or not 0 < base_seconds <= cap_seconds < math.inf or not 0 <= draw < 1:
        raise Corrupt(
            f"breaker: open time asked for openings={openings}, base={base_seconds} s, cap={cap_seconds} s, draw={draw}",
            hint="This is a bug in treasuryd: report it with this line.",
        )
    # 2.0 ** 1023 is the largest power of two that a float holds; the cap is reached long before
    nominal = min(cap_seconds, base_seconds * 2.0 ** min(openings - 1, 512))
    return nominal * (1 - JITTER + 2 * JITTER * draw)


def state_at(breaker: Breaker, now: BootSeconds) -> BreakerState:
    """Say the state as a call asked for now would find it: an open time that has run out is over, asked or not."""
    if breaker.state is BreakerState.OPEN and now >= breaker.open_until:
        return BreakerState.HALF_OPEN
    return breaker.state


def report(breaker: Breaker, *, endpoint: Endpoint, call_class: CallClass, now: BootSeconds) -> BreakerReport:
    """Describe the breaker at the moment of a scrape; counts are since the start of the process."""
    state = state_at(breaker, now)
    waits = state is BreakerState.OPEN and breaker.open_until < FOREVER
    return BreakerReport(
        endpoint=endpoint,
        call_class=call_class,
        state=state,
        mode=breaker.mode,
        failures=breaker.failures,
        successes=breaker.successes,
        rejections=breaker.rejections,
        transitions=breaker.generation,
        reopens_in_seconds=breaker.open_until - now if waits else None,
    )


# --- permits ------------------------------------------------------------------------------------------------


def _permit(breaker: Breaker, kind: PermitKind, now: BootSeconds) -> Permit:
    return Permit(
        kind=kind,
        generation=breaker.generation,
        number=breaker.probes,
        expires_at=BootSeconds(now + breaker.settings.permit_secs),
    )


def _refuse(breaker: Breaker, now: BootSeconds) -> tuple[Breaker, Permit | None]:
    if breaker.mode is BreakerMode.METRICS_ONLY:
        return breaker, _permit(breaker, PermitKind.COUNTED, now)
    return replace(breaker, rejections=breaker.rejections + 1), None


# --- outcomes -----------------------------------------------------------------------------------------------


def _settle_call(
    breaker: Breaker, outcome: Outcome, now: BootSeconds, draw: float, silence: float
) -> Breaker:
    """Count a call of a closed breaker and trip where it is time to."""
    if outcome in (Outcome.IGNORED, Outcome.CANCELLED):
        return breaker
    failed = outcome is Outcome.FAILURE
    settings = breaker.settings
    window = _slid(breaker.window, settings, now, good=outcome is Outcome.SUCCESS)
    # built by name, not by replace(): this is the path of every healthy call
    counted = Breaker(
        settings=settings,
        mode=breaker.mode,
        generation=breaker.generation,
        consecutive=breaker.consecutive + 1 if failed else 0,
        window=window,
        failures=breaker.failures + failed,
        successes=breaker.successes + (not failed),
        rejections=breaker.rejections,
        closed_at=breaker.closed_at,
        openings=breaker.openings,
        probes=breaker.probes,
    )
    if outcome is Outcome.SUCCESS:
        return counted
    if counted.consecutive >= settings.failure_threshold or _ratio_reached(window, settings):
        return _trip(counted, now, draw, silence)
    if failed and silence > 0:
        # it asked to be left alone: obeyed at once, but as no opening of its own in the back-off
        return replace(_open(counted, BootSeconds(now + silence)), openings=_openings(counted, now))
    return counted


def _settle_probe(
    breaker: Breaker, outcome: Outcome, now: BootSeconds, draw: float, silence: float
) -> Breaker:
    """Take the probe back; a slow one counts as failed, since a flood would make it slower."""
    breaker = _counted(replace(breaker, probe=None), outcome)
    if outcome in (Outcome.IGNORED, Outcome.CANCELLED):
        return breaker
    if outcome is not Outcome.SUCCESS:
        return _trip(breaker, now, draw, silence)
    successes = breaker.probe_successes + 1
    if successes < breaker.settings.success_threshold:
        return replace(breaker, probe_successes=successes)
    return replace(_clean(breaker, now), generation=breaker.generation + 1)


def _counted(breaker: Breaker, outcome: Outcome) -> Breaker:
    if outcome is Outcome.FAILURE:
        return replace(breaker, failures=breaker.failures + 1)
    if outcome in (Outcome.SUCCESS, Outcome.SLOW):
        return replace(breaker, successes=breaker.successes + 1)
    return breaker


# --- changes of state ---------------------------------------------------------------------------------------


def _trip(breaker: Breaker, now: BootSeconds, draw: float, silence: float) -> Breaker:
    """Open, for longer the more often it opened since a close that held for a whole window."""
    settings = breaker.settings
    openings = _openings(breaker, now) + 1
    seconds = open_seconds(
        openings, base_seconds=settings.timeout_secs, cap_seconds=settings.open_cap_secs, draw=draw
    )
    return replace(_open(breaker, BootSeconds(now + max(seconds, silence))), openings=openings)


def _openings(breaker: Breaker, now: BootSeconds) -> int:
    held = breaker.state is BreakerState.CLOSED and now - breaker.closed_at >= breaker.settings.window_secs
    return 0 if held else breaker.openings


def _open(breaker: Breaker, until: BootSeconds) -> Breaker:
    return replace(
        breaker,
        state=BreakerState.OPEN,
        generation=breaker.generation + 1,
        consecutive=0,
        window=Window(),
        open_until=until,
        probe_successes=0,
    )


def _half_open(breaker: Breaker) -> Breaker:
    return replace(
        breaker,
        state=BreakerState.HALF_OPEN,
        generation=breaker.generation + 1,
        open_until=FOREVER,
    )


def _clean(breaker: Breaker, now: BootSeconds) -> Breaker:
    """Close with an empty memory: what led to the opening must not trip it again."""
    return replace(
        breaker,
        state=BreakerState.CLOSED,
        consecutive=0,
        window=Window(),
        closed_at=now,
        open_until=FOREVER,
        probe_successes=0,
    )


# --- the window ---------------------------------------------------------------------------------------------


def _slid(window: Window, settings: BreakerSettings, now: BootSeconds, *, good: bool) -> Window:
    """Count one call in the step of `now`; steps that left the window are forgotten."""
    slot = int(now * WINDOW_BUCKETS / settings.window_secs)
    if slot <= window.slot:  # the same step (a boot clock never steps back)
        return Window(
            slot=window.slot, good=window.good + good, bad=window.bad + (not good), older=window.older
        )
    steps = (*window.older, (window.slot, window.good, window.bad))
    older = tuple(step for step in steps if step[0] > slot - WINDOW_BUCKETS and step[1] + step[2])
    return Window(slot=slot, good=int(good), bad=int(not good), older=older)


def _ratio_reached(window: Window, settings: BreakerSettings) -> bool:
    bad = window.bad + sum(step[2] for step in window.older)
    calls = bad + window.good + sum(step[1] for step in window.older)
    return calls >= settings.min_calls and bad >= settings.failure_ratio * calls


def _require(name: str, holds: bool, range_: str) -> None:  # noqa: FBT001  (a guard reads best positionally)
    if not holds:
        raise Rejected(
            f"circuit breaker: {name} must be {range_}",
            field=name,
            hint=f"Correct {name} in the configuration file, or remove it to use the default.",
        )
