"""
The verdicts behind `/health`, `/livez` and `/readyz`, with their reasons (interfaces.md §3).

Pure: `commands/queries.py` gathers the facts, this module judges them, `web/health.py` serves the judgement.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from treasuryd.core.model import (
    Account,
    AccountId,
    AccountState,
    BreakerMode,
    BreakerReport,
    BreakerState,
    Height,
)

POLLS_UNTIL_STALE: Final = 3  # interfaces.md §3
# A tick that seals a thousand payments takes longer than three of the development configuration's polls (0.6 s);
# in production (5 s polls) this floor never matters.
STALE_FLOOR_SECONDS: Final = 3.0
LOOP_SILENT_SECONDS: Final = (
    10.0  # one lease TTL: past it the watchdog ends a leader anyway (protocol.md §6.5)
)


class Verdict(StrEnum):
    """How one check, or the whole daemon, stands; ordered from good to bad."""

    OK = "ok"
    DEGRADED = "degraded"
    FAIL = "fail"


_RANK: Final = {Verdict.OK: 0, Verdict.DEGRADED: 1, Verdict.FAIL: 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One question, its verdict and the reason in a sentence."""

    name: str
    verdict: Verdict
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """
    What the checks are made from, at one moment; ages in seconds by the boot clock.

    `store_error` is set when the store could not be read for this very question; then `accounts`, `held_for_person`
    and `ambiguous` are empty and say nothing.
    """

    started: bool
    stopping: bool
    task_alive: bool
    poll_seconds: float
    last_tick_age_seconds: float | None
    last_error: str | None = None
    store_failing: bool = False
    store_error: str | None = None
    signer_waits: str = ""
    loop_fed_age_seconds: float = 0.0
    reported_height: Height | None = None
    believed_height: Height | None = None
    chain_age_seconds: float | None = None
    chain_max_age_seconds: float = 120.0
    endpoints_differ: str = ""  # which nodes have differed for too long, in words
    breakers: Sequence[BreakerReport] = ()
    accounts: Sequence[Account] = ()
    owned: Sequence[AccountId] = ()  # accounts that this process is configured for
    led: frozenset[AccountId] = frozenset()
    held_for_person: int = 0
    ambiguous: int = 0
    compared: bool = True  # the store was held against the signer's memory since this process opened it


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """The judgement: the worst of its checks."""

    verdict: Verdict
    checks: tuple[Check, ...]

    @property
    def http_status(self) -> int:
        """200 for ok and degraded, 503 for a failure."""
        return 503 if self.verdict is Verdict.FAIL else 200


def judge(facts: Facts) -> Health:
    """Ask every check, each alone, and answer with the worst verdict."""
    checks = (
        executor_check(facts),
        tick_check(facts),
        store_check(facts),
        signer_check(facts),
        chain_check(facts),
        breaker_check(facts),
        lease_check(facts),
        account_check(facts),
        people_check(facts),
    )
    worst = max((check.verdict for check in checks), key=_RANK.__getitem__)
    return Health(verdict=worst, checks=checks)


def ready(facts: Facts) -> Check:
    """Judge readiness: started, not stopping, store in order and known to be the newest. A standby is ready too."""
    if facts.stopping:
        return Check(name="ready", verdict=Verdict.FAIL, reason="stopping")
    if not facts.started:
        return Check(name="ready", verdict=Verdict.FAIL, reason="starting")
    if facts.store_failing or facts.store_error is not None:
        return Check(name="ready", verdict=Verdict.FAIL, reason="the store is failing")
    if not facts.compared:
        reason = "the store has not been held against the signer's memory yet: no order is taken"
        return Check(name="ready", verdict=Verdict.FAIL, reason=reason)
    return Check(name="ready", verdict=Verdict.OK, reason="started")


def live(facts: Facts) -> Check:
    """Judge liveness: whoever can ask has a loop that answers; the watchdog must have been fed too."""
    if facts.loop_fed_age_seconds > LOOP_SILENT_SECONDS:
        reason = f"the watchdog was last fed {facts.loop_fed_age_seconds:.1f} s ago"
        return Check(name="live", verdict=Verdict.FAIL, reason=reason)
    return Check(name="live", verdict=Verdict.OK, reason="the loop answers")


def executor_check(facts: Facts) -> Check:
    """The executor's task must be there: a daemon that only looks alive pays nobody (D35)."""
    name = "executor"
    if not facts.started:
        return Check(name=name, verdict=Verdict.FAIL, reason="the executor is starting")
    if facts.stopping:
        return Check(name=name, verdict=Verdict.FAIL, reason="the executor is stopping")
    if not facts.task_alive:
        return Check(
            name=name,
            verdict=Verdict.FAIL,
            reason="the executor's task is gone; the process is about to exit",
        )
    return Check(name=name, verdict=Verdict.OK, reason="the executor's task is running")


def tick_check(facts: Facts) -> Check:
    """The last tick must not be older than three polls."""
    name, age = "tick", facts.last_tick_age_seconds
    if age is None:
        return Check(name=name, verdict=Verdict.FAIL, reason="no tick has finished yet")
    limit = max(POLLS_UNTIL_STALE * facts.poll_seconds, STALE_FLOOR_SECONDS)
    said = f"the last tick finished {age:.1f} s ago, the limit is {limit:.1f} s"
    if age > limit:
        error = f"; its last error: {facts.last_error}" if facts.last_error else ""
        return Check(name=name, verdict=Verdict.FAIL, reason=said + error)
    return Check(name=name, verdict=Verdict.OK, reason=said)


def store_check(facts: Facts) -> Check:
    """The store must answer reads now and must not have failed the executor."""
    if facts.store_error is not None:
        return Check(
            name="store", verdict=Verdict.FAIL, reason=f"the store cannot be read: {facts.store_error}"
        )
    if facts.store_failing:
        return Check(
            name="store", verdict=Verdict.FAIL, reason="the executor's last write to the store failed"
        )
    return Check(name="store", verdict=Verdict.OK, reason="the store answers")


def chain_check(facts: Facts) -> Check:
    """A chain that does not move, a head that is not believed (R16), or nodes that differ degrade; money only waits."""
    name = "chain"
    believed, reported, age = facts.believed_height, facts.reported_height, facts.chain_age_seconds
    if believed is None or age is None:
        return Check(name=name, verdict=Verdict.DEGRADED, reason="the chain has not been read yet")
    if not facts.led:  # it reads no heads: the age of what it read when it led says nothing of the chain
        return Check(
            name=name, verdict=Verdict.DEGRADED, reason="not read by a standby: ask the leader's /health"
        )
    reasons = []
    if age > facts.chain_max_age_seconds:
        reasons.append(
            f"no new block for {age:.0f} s (limit {facts.chain_max_age_seconds:.0f} s), height {believed}"
        )
    if reported is not None and reported > believed:
        reasons.append(f"an endpoint claims height {reported}, believed is {believed}")
    if facts.endpoints_differ:
        reasons.append(facts.endpoints_differ)
    if reasons:
        return Check(name=name, verdict=Verdict.DEGRADED, reason="; ".join(reasons))
    return Check(name=name, verdict=Verdict.OK, reason=f"height {believed}, last risen {age:.1f} s ago")


def signer_check(facts: Facts) -> Check:
    """A signer that waits for a person signs nothing: what is sent and confirmed goes on, nothing new is paid (R11)."""
    if facts.signer_waits:
        reason = f"signs nothing until a person acts: {facts.signer_waits}"
        return Check(name="signer", verdict=Verdict.DEGRADED, reason=reason)
    return Check(name="signer", verdict=Verdict.OK, reason="refuses nothing that waits for a person")


def breaker_check(facts: Facts) -> Check:
    """Every breaker should be closed, and none forced by a person."""
    odd = [
        f"{report.endpoint}/{report.call_class} is {report.state}"
        + ("" if report.mode is BreakerMode.AUTO else f" ({report.mode})")
        for report in facts.breakers
        if _odd(report)
    ]
    if odd:
        return Check(name="breakers", verdict=Verdict.DEGRADED, reason="; ".join(odd))
    return Check(name="breakers", verdict=Verdict.OK, reason=f"none of {len(facts.breakers)} is open")


def _odd(report: BreakerReport) -> bool:
    """Not as it should be; one that has only been cautious since the start (one probe first) is."""
    if report.mode in {BreakerMode.FORCED_OPEN, BreakerMode.METRICS_ONLY}:
        return True
    fresh = report.state is BreakerState.HALF_OPEN and report.transitions == 0
    return report.state is not BreakerState.CLOSED and not fresh


def lease_check(facts: Facts) -> Check:
    """A standby is healthy, and says so."""
    missing = [account for account in facts.owned if account not in facts.led]
    if missing:
        reason = f"standby: the lease of {', '.join(missing)} is not ours"
        return Check(name="lease", verdict=Verdict.DEGRADED, reason=reason)
    return Check(
        name="lease", verdict=Verdict.OK, reason=f"holds {len(facts.led)} of {len(facts.owned)} leases"
    )


def account_check(facts: Facts) -> Check:
    """A frozen or quarantined account pays nothing until a person has decided."""
    stopped = [
        f"{account.id} is {account.state}: {account.cause}"
        for account in facts.accounts
        if account.state is not AccountState.ACTIVE
    ]
    if stopped:
        return Check(name="accounts", verdict=Verdict.FAIL, reason="; ".join(stopped))
    return Check(name="accounts", verdict=Verdict.OK, reason=f"{len(facts.accounts)} active")


def people_check(facts: Facts) -> Check:
    """Items that wait for a person's word degrade."""
    waiting = facts.held_for_person + facts.ambiguous
    if waiting:
        reason = f"{facts.held_for_person} held and {facts.ambiguous} ambiguous items wait for a person"
        return Check(name="people", verdict=Verdict.DEGRADED, reason=reason)
    return Check(name="people", verdict=Verdict.OK, reason="nothing waits for a person")
