"""
Gauges, read when somebody looks.

A gauge that is set when something happens goes on telling of it after the process stopped looking; these are made of
the running objects at the moment of the scrape (the defect D24, D35 of the original).
"""

import platform
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from treasuryd import __version__
from treasuryd.core.model import (
    CALL_SECONDS,
    MAX_ACCOUNTS,
    MAX_ENDPOINTS,
    AccountId,
    AccountState,
    BreakerMode,
    BreakerReport,
    BreakerState,
    CallClass,
    CallOutcome,
    FreezeCause,
    Hold,
    Lease,
    Meters,
    Moment,
    Snapshot,
)
from treasuryd.ports import Vitals
from treasuryd.telemetry.families import counter, gauge, histogram, info
from treasuryd.telemetry.labels import BackupKind
from treasuryd.telemetry.registry import looked
from treasuryd.telemetry.registry.family import Family

BREAKER_VALUE: Final = {BreakerState.CLOSED: 0, BreakerState.OPEN: 1, BreakerState.HALF_OPEN: 2}
UNEXPLAINED: Final = frozenset(
    {FreezeCause.FOREIGN_NONCE, FreezeCause.UNEXPLAINED_FALL, FreezeCause.CONSERVATION}
)
MAX_BREAKERS: Final = MAX_ENDPOINTS * len(CallClass)
BUILD: Final = {
    "version": __version__,
    "python": platform.python_version(),
    "sqlite": sqlite3.sqlite_version,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """Everything that gauges are made of, at one moment; what the store said may be a second old."""

    unix: float
    accounts: tuple[AccountId, ...]
    breakers: tuple[BreakerReport, ...] = ()
    leads: Mapping[AccountId, Lease] = field(default_factory=dict)
    vitals: Vitals | None = None
    moment: Moment | None = None
    waiting: Mapping[Hold, int] = field(default_factory=dict)
    loop_lag_seconds: float = 0.0
    clock_skew_seconds: float = 0.0
    own: Snapshot | None = (
        None  # this process's own last tick; None on a standby, where the stored one is shown
    )
    meters: Meters | None = None  # of the store; None before the first reading, and after one that failed
    copied_at: float | None = (
        None  # when the journal's copy last lacked nothing; None where another process writes it
    )


class MomentCollector(Collector):
    """
    Asks for a picture at each scrape and writes it as gauges.

    Guarantees: at most as many accounts and endpoints as the registry says, whatever the picture holds.
    """

    def __init__(self, picture: Callable[[], Picture | None]) -> None:
        self._picture = picture

    def describe(self) -> Iterable[Metric]:
        """Tell nothing at registration: there is nothing to look at yet."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Write one picture; only the build where there is none."""
        yield info(looked.BUILD, BUILD)
        picture = self._picture()
        if picture is None:
            return
        yield from _single(looked.LOOP_LAG, picture.loop_lag_seconds)
        yield from _single(looked.CLOCK_SKEW, picture.clock_skew_seconds)
        yield from _breakers(picture.breakers[:MAX_BREAKERS])
        yield from _calls(picture.breakers[:MAX_BREAKERS])
        yield from _executor(picture)
        yield from _leadership(picture)
        yield from _chain(picture)
        yield from _single(looked.STORE_READABLE, picture.meters is not None)
        if picture.meters is not None:
            yield from _store(picture, picture.meters)
            yield from _accounts(picture.meters)


def _single(family: Family, value: float | None) -> Iterable[Metric]:
    """One gauge without labels; left out where nothing is known."""
    if value is not None:
        metric = gauge(family)
        metric.add_metric((), value)
        yield metric


def _breakers(breakers: Iterable[BreakerReport]) -> Iterable[Metric]:
    state, forced = gauge(looked.BREAKER_STATE), gauge(looked.BREAKER_FORCED)
    failures, successes = gauge(looked.BREAKER_FAILURES), gauge(looked.BREAKER_SUCCESSES)
    transitions, rejections = counter(looked.BREAKER_TRANSITIONS), counter(looked.BREAKER_REJECTIONS)
    for one in breakers:
        place = (one.endpoint, one.call_class.value)
        state.add_metric(place, BREAKER_VALUE[one.state])
        failures.add_metric(place, one.failures)
        successes.add_metric(place, one.successes)
        forced.add_metric(place, one.mode is not BreakerMode.AUTO)
        transitions.add_metric(place, one.transitions)
        rejections.add_metric(place, one.rejections)
    yield from (state, failures, successes, forced, transitions, rejections)


def _calls(breakers: Iterable[BreakerReport]) -> Iterable[Metric]:
    calls, duration = counter(looked.CALLS), histogram(looked.CALL_DURATION)
    for one in breakers:
        place = (one.endpoint, one.call_class.value)
        for outcome in CallOutcome:
            calls.add_metric((*place, outcome.value), one.calls.outcomes.get(outcome, 0))
        buckets, below = [], 0
        for bound, count in zip(CALL_SECONDS, one.calls.within, strict=True):
            below += count
            buckets.append((str(bound), float(below)))
        duration.add_metric(place, [*buckets, ("+Inf", float(one.calls.made))], one.calls.seconds)
    yield from (calls, duration)


def _executor(picture: Picture) -> Iterable[Metric]:
    vitals = picture.vitals
    if vitals is not None:
        for family, age in (
            (looked.LAST_TICK, vitals.last_tick_age_seconds),
            (looked.LAST_SUCCESS, vitals.last_success_age_seconds),
        ):
            yield from _single(family, 0.0 if age is None else picture.unix - age)
        yield from _single(looked.LOOP_FED, vitals.loop_fed_age_seconds)
        yield from _single(looked.READY, _ready(vitals))
    waiting = gauge(looked.WAITING)
    for hold in Hold:
        waiting.add_metric((hold.value,), picture.waiting.get(hold, 0))
    yield waiting
    snapshot = picture.own
    if snapshot is None:
        if picture.meters is None:
            return
        snapshot = picture.meters.snapshot
    yield from _single(looked.LAST_ERROR, snapshot.last_error_at or 0.0)
    yield from _single(looked.PENDING, snapshot.pending_matured)
    yield from _single(looked.STAGED, snapshot.staged_intents)
    yield from _single(looked.LAST_NONCE, snapshot.last_submitted_nonce or 0)


def _ready(vitals: Vitals) -> bool:
    return vitals.started and not vitals.stopping and vitals.task_alive and not vitals.store_failing


def _leadership(picture: Picture) -> Iterable[Metric]:
    active, valid = gauge(looked.ACTIVE), gauge(looked.LEASE_VALID)
    left = 0.0 if picture.vitals is None else picture.vitals.lease_left_seconds
    for account in picture.accounts[:MAX_ACCOUNTS]:
        active.add_metric((account,), account in picture.leads)
        valid.add_metric((account,), left if account in picture.leads else 0.0)
    yield from (active, valid)


def _chain(picture: Picture) -> Iterable[Metric]:
    moment, vitals = picture.moment, picture.vitals
    if moment is not None:
        yield from _single(looked.CHAIN_HEIGHT, moment.believed)
        yield from _single(looked.CHAIN_SETTLED, moment.settled)
        yield from _single(looked.CHAIN_SEEN, moment.seen)
        if moment.frame is not None:
            yield from _single(looked.CHAIN_BASE_FEE, moment.frame.base_fee)
    if vitals is not None:
        yield from _single(looked.CHAIN_REPORTED, vitals.reported_height)
        yield from _single(looked.CHAIN_LAG, vitals.chain_age_seconds)
        if vitals.agreement is not None:
            yield from _single(looked.ENDPOINT_LAG, vitals.agreement.lag)
            yield from _single(looked.ENDPOINTS_DIFFER, vitals.agreement.seconds)


def _store(picture: Picture, meters: Meters) -> Iterable[Metric]:
    backlog, held = gauge(looked.BACKLOG_BY_STATUS), gauge(looked.HELD)
    for status in looked.BACKLOG:
        backlog.add_metric((status.value,), meters.counts.get(status, 0))
    ambiguous = sum(account.ambiguous for account in meters.accounts)
    for hold in looked.STORED_HOLDS:
        held.add_metric((hold.value,), ambiguous if hold is Hold.AMBIGUOUS else meters.held.get(hold, 0))
    yield from (backlog, held)
    oldest = meters.oldest_payable_at
    yield from _single(looked.OLDEST_AGE, 0.0 if oldest is None else max(0.0, picture.unix - oldest))
    yield from _single(looked.KILL_SWITCH, meters.kill_switch)
    yield from _single(looked.JOURNAL_HEAD, meters.journal_head)
    yield from _single(looked.STORE_SIZE, meters.size_bytes)
    yield from _single(looked.STORE_FREE, meters.free_bytes)
    if picture.copied_at is not None and meters.copy is not None:
        yield from _single(looked.COPY_LAG, meters.copy.behind)
        for family, value in (
            (looked.BACKUP_SUCCESS, picture.copied_at),
            (looked.BACKUP_SIZE, float(meters.copy.size_bytes)),
            (looked.BACKUP_DURATION, meters.copy.took_seconds),
        ):
            metric = gauge(family)
            metric.add_metric((BackupKind.JOURNAL.value,), value)
            yield metric
    yield info(
        looked.STORE_INFO,
        {
            "sqlite": meters.sqlite_version,
            "journal_mode": meters.journal_mode,
            "schema": str(meters.schema_version),
        },
    )


def _accounts(meters: Meters) -> Iterable[Metric]:
    balance, frozen, quarantined = gauge(looked.BALANCE), gauge(looked.FROZEN), gauge(looked.QUARANTINED)
    unexplained, unknown = gauge(looked.UNEXPLAINED), gauge(looked.UNKNOWN)
    last_nonce, term, released = (
        gauge(looked.LEASE_NONCE),
        gauge(looked.LEASE_TERM),
        gauge(looked.LEASE_RELEASED),
    )
    for account in meters.accounts[:MAX_ACCOUNTS]:
        place = (account.id,)
        if account.balance is not None:
            balance.add_metric(place, account.balance)
        frozen.add_metric(place, account.state is not AccountState.ACTIVE)
        quarantined.add_metric(place, account.state is AccountState.QUARANTINED)
        unexplained.add_metric(place, account.state is AccountState.FROZEN and account.cause in UNEXPLAINED)
        unknown.add_metric(place, account.ambiguous)
        last_nonce.add_metric(place, account.high_water)
        if account.term is not None:
            term.add_metric(place, account.term)
            released.add_metric(place, account.released)
    yield from (balance, frozen, quarantined, unexplained, unknown, last_nonce, term, released)
