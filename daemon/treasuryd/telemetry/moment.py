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

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from treasuryd import __version__
from treasuryd.core.model import (
    Account,
    AccountId,
    AccountState,
    Address,
    BreakerMode,
    BreakerReport,
    BreakerState,
    FreezeCause,
    Hold,
    Lease,
    LeaseSeen,
    Moment,
    Snapshot,
    Status,
    StoreFacts,
)
from treasuryd.ports import Vitals

BREAKER_VALUE: Final = {BreakerState.CLOSED: 0, BreakerState.OPEN: 1, BreakerState.HALF_OPEN: 2}
BACKLOG: Final = (Status.DRAFT, Status.VOTING, Status.QUEUED, Status.TIMELOCKED, Status.EXECUTED)
UNEXPLAINED: Final = frozenset(
    {FreezeCause.FOREIGN_NONCE, FreezeCause.UNEXPLAINED_FALL, FreezeCause.CONSERVATION}
)


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
    # of the store; None before the first reading, and after one that failed
    facts: StoreFacts | None = None
    snapshot: Snapshot | None = None
    stored: tuple[Account, ...] = ()
    leases: tuple[LeaseSeen, ...] = ()
    kill_switch: bool | None = None


class MomentCollector(Collector):
    """Asks for a picture at each scrape and writes it as gauges."""

    def __init__(self, picture: Callable[[], Picture | None]) -> None:
        self._picture = picture

    def describe(self) -> Iterable[Metric]:
        """Tell nothing at registration: there is nothing to look at yet."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Write one picture; only the build where there is none."""
        yield _build()
        picture = self._picture()
        if picture is None:
            return
        yield from _breakers(picture)
        yield from _executor(picture)
        yield from _leadership(picture)
        yield from _chain(picture)
        yield from _store(picture)
        yield from _accounts(picture)


def _build() -> Metric:
    return InfoMetricFamily(
        "treasuryd_build",
        "What is running.",
        {"version": __version__, "python": platform.python_version(), "sqlite": sqlite3.sqlite_version},
    )


def _gauge(name: str, sentence: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, sentence, labels=labels)


def _single(name: str, sentence: str, value: float | None) -> Iterable[Metric]:
    """One gauge without labels; left out where nothing is known."""
    if value is not None:
        yield GaugeMetricFamily(name, sentence, value=value)


def _breakers(picture: Picture) -> Iterable[Metric]:
    labels = ("endpoint", "class")
    state = _gauge("treasury_circuit_breaker_state", "0 closed, 1 open, 2 half-open.", *labels)
    failures = _gauge("treasury_circuit_breaker_failures", "Failures counted.", *labels)
    successes = _gauge("treasury_circuit_breaker_successes", "Successes counted.", *labels)
    forced = _gauge("treasury_circuit_breaker_forced", "1 where a person decided.", *labels)
    transitions = CounterMetricFamily(
        "treasury_circuit_breaker_transitions", "Changes of state or mode.", labels=labels
    )
    rejections = CounterMetricFamily("treasury_circuit_breaker_rejections", "Calls not made.", labels=labels)
    for one in picture.breakers:
        place = (one.endpoint, one.call_class.value)
        state.add_metric(place, BREAKER_VALUE[one.state])
        failures.add_metric(place, one.failures)
        successes.add_metric(place, one.successes)
        forced.add_metric(place, one.mode is not BreakerMode.AUTO)
        transitions.add_metric(place, one.transitions)
        rejections.add_metric(place, one.rejections)
    yield from (state, failures, successes, forced, transitions, rejections)


def _executor(picture: Picture) -> Iterable[Metric]:
    vitals, snapshot = picture.vitals, picture.snapshot
    if vitals is not None:
        for name, sentence, age in (
            (
                "treasury_executor_last_tick_seconds",
                "Unix time of the last tick; 0: none.",
                vitals.last_tick_age_seconds,
            ),
            (
                "treasury_executor_last_success_seconds",
                "Unix time of the last tick that did not fail, 0 for none.",
                vitals.last_success_age_seconds,
            ),
        ):
            yield from _single(name, sentence, 0.0 if age is None else picture.unix - age)
        yield from _single(
            "treasury_executor_loop_fed_age_seconds",
            "Since the loop turned.",
            vitals.loop_fed_age_seconds,
        )
        yield from _single(
            "treasury_executor_ready", "1 from the start's end to the stop's begin.", _ready(vitals)
        )
    waiting = _gauge(
        "treasury_disbursements_waiting", "Items that the last tick did not stage, by reason.", "hold"
    )
    for hold in Hold:
        waiting.add_metric((hold.value,), picture.waiting.get(hold, 0))
    yield waiting
    if snapshot is None:
        return
    yield from _single(
        "treasury_executor_last_error_seconds",
        "Unix time of the last failed tick; 0: none.",
        snapshot.last_error_at or 0.0,
    )
    yield from _single(
        "treasury_executor_pending_matured", "Items that may be paid and are not.", snapshot.pending_matured
    )
    yield from _single("treasury_executor_staged_intents", "Intents under way.", snapshot.staged_intents)
    yield from _single(
        "treasury_executor_last_submitted_nonce", "Highest nonce sent.", snapshot.last_submitted_nonce or 0
    )


def _ready(vitals: Vitals) -> bool:
    return vitals.started and not vitals.stopping and vitals.task_alive and not vitals.store_failing


def _leadership(picture: Picture) -> Iterable[Metric]:
    active = _gauge("treasury_executor_active", "1 where this process may act.", "account")
    term = _gauge("treasury_lease_term", "The lease's term as stored.", "account")
    released = _gauge("treasury_executor_lease_released", "1 where nobody holds the lease.", "account")
    for account in picture.accounts:
        active.add_metric((account,), account in picture.leads)
    for lease in picture.leases:
        term.add_metric((lease.account,), lease.term)
        released.add_metric((lease.account,), lease.released)
    yield from (active, term, released)


def _chain(picture: Picture) -> Iterable[Metric]:
    moment, vitals = picture.moment, picture.vitals
    if moment is not None:
        yield from _single("treasury_chain_height", "Believed height.", moment.believed)
        yield from _single(
            "treasury_chain_settled_epoch", "Settled epoch, which never falls.", moment.settled
        )
        yield from _single("treasury_chain_seen_epoch", "Seen epoch.", moment.seen)
        if moment.frame is not None:
            yield from _single(
                "treasury_chain_base_fee", "Base units per transaction.", moment.frame.base_fee
            )
    if vitals is not None:
        yield from _single(
            "treasury_chain_reported_height", "Highest height that a node claims.", vitals.reported_height
        )
        yield from _single(
            "treasury_chain_lag_seconds", "Since the believed head last rose.", vitals.chain_age_seconds
        )


def _store(picture: Picture) -> Iterable[Metric]:
    facts = picture.facts
    yield from _single("treasury_kill_switch", "1 while sending is forced off.", picture.kill_switch)
    yield from _single(
        "treasury_store_readable", "1 where the last reading of the store succeeded.", facts is not None
    )
    if facts is None:
        return
    backlog = _gauge("treasury_disbursement_backlog", "Unfinished disbursements.", "status")
    for status in BACKLOG:
        backlog.add_metric((status.value,), facts.counts.get(status, 0))
    yield backlog
    yield from _single("treasury_disbursements_held", "Items that wait for a person.", facts.held_for_person)
    yield from _single("treasury_outcome_unknown", "Ambiguous intents: a person decides.", facts.ambiguous)
    yield InfoMetricFamily(
        "treasury_store",
        "How the store is kept.",
        {
            "sqlite": facts.sqlite_version,
            "journal_mode": facts.journal_mode,
            "schema": str(facts.schema_version),
        },
    )


def _accounts(picture: Picture) -> Iterable[Metric]:
    balance = _gauge("treasury_balance", "Base units at the baseline.", "account")
    frozen = _gauge("treasury_account_frozen", "1 where an account is frozen or quarantined.", "account")
    quarantined = _gauge(
        "treasury_account_quarantined", "1 where the store may be older than the world.", "account"
    )
    unexplained = _gauge(
        "treasury_unexplained_movement", "1 where the chain moved in a way that is not ours.", "account"
    )
    last_nonce = _gauge("treasury_executor_lease_last_nonce", "Highest nonce ever staged.", "account")
    for account in picture.stored:
        place = (account.id,)
        holding = None if account.baseline is None else account.baseline.holdings.get(Address(account.id))
        if holding is not None:
            balance.add_metric(place, holding.balance)
        frozen.add_metric(place, account.state is not AccountState.ACTIVE)
        quarantined.add_metric(place, account.state is AccountState.QUARANTINED)
        unexplained.add_metric(place, account.state is AccountState.FROZEN and account.cause in UNEXPLAINED)
        last_nonce.add_metric(place, account.high_water)
    yield from (balance, frozen, quarantined, unexplained, last_nonce)
