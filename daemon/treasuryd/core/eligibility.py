"""May it be paid now? The planner and `treasuryd explain` read the same answer (protocol.md §2)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from treasuryd.core.limits import limit_to_hold
from treasuryd.core.model import (
    AccountId,
    AccountState,
    BaseUnits,
    Disbursement,
    DisbursementId,
    Epoch,
    Hold,
    IntentId,
    Rules,
    Status,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What keeps an approved item from being staged though nothing is wrong with it, account by account."""

    account_states: Mapping[AccountId, AccountState] = field(default_factory=dict)
    led: frozenset[AccountId] = frozenset()
    kill_switch: bool = False
    breaker_open: bool = False
    reachable: bool = True
    room: Mapping[AccountId, int] = field(default_factory=dict)  # free places in the pipeline
    funds: Mapping[AccountId, BaseUnits] = field(default_factory=dict)  # not yet promised to an intent
    fee: BaseUnits | None  # of this item; None: above the ceiling


class Item(Protocol):
    """As much of a disbursement as the predicate reads; the store checks its rows without building whole ones."""

    @property
    def id(self) -> DisbursementId:
        """Its id."""

    @property
    def amount(self) -> BaseUnits:
        """Base units."""

    @property
    def scheduled_epoch(self) -> Epoch:
        """The earliest epoch of payment."""

    @property
    def depends_on(self) -> tuple[DisbursementId, ...]:
        """What it waits for."""

    @property
    def status(self) -> Status:
        """Where it stands."""

    @property
    def live_intent(self) -> IntentId | None:
        """The intent that pays it, if one does."""

    @property
    def cancel_requested(self) -> str | None:
        """Why it is to be cancelled, if so."""

    @property
    def hold(self) -> Hold | None:
        """Its stored hold, if any."""


def reason_to_hold(
    item: Item,
    *,
    settled: Epoch,
    known: Mapping[DisbursementId, Status],
    satisfied: frozenset[DisbursementId] = frozenset(),
    rules: Rules,
) -> Hold | None:
    """
    Name the first thing of the item itself that keeps it from being staged; None when nothing does.

    Args: `known` holds the statuses of its dependencies as stored; `satisfied` those of them that count by
        setting although they are not finalized yet (`Rules.dependency_satisfied_by_final`).
    """
    if item.live_intent is not None:
        return Hold.IN_FLIGHT
    if item.status is not Status.TIMELOCKED:
        return Hold.NOT_APPROVED
    if item.cancel_requested is not None:
        return Hold.CANCEL_REQUESTED
    if item.hold is not None:
        return item.hold
    if settled < item.scheduled_epoch:
        return Hold.SCHEDULED_LATER
    return limit_to_hold(item.amount, rules) or dependencies_hold(item, known=known, satisfied=satisfied)


def dependencies_hold(
    item: Item,
    *,
    known: Mapping[DisbursementId, Status],
    satisfied: frozenset[DisbursementId] = frozenset(),
) -> Hold | None:
    """Name what is wrong with the dependencies; what cannot happen any more never turns into "satisfied"."""
    if not item.depends_on:
        return None
    if item.id in item.depends_on:
        return Hold.DEPENDENCY_CIRCULAR
    statuses = {dependency: known.get(dependency) for dependency in item.depends_on}
    if None in statuses.values():
        return Hold.DEPENDENCY_MISSING
    if Status.ROLLED_BACK in statuses.values():
        return Hold.DEPENDENCY_FAILED
    pending = (
        dependency
        for dependency, status in statuses.items()
        if status is not Status.FINALIZED and dependency not in satisfied
    )
    return Hold.DEPENDENCY_PENDING if any(True for _ in pending) else None


def worldly_hold(item: Disbursement, around: Surroundings) -> Hold | None:
    """Name the first thing of the world that keeps an otherwise payable item waiting; None: the next tick stages it."""
    state = around.account_states.get(item.account)
    if state is AccountState.FROZEN:
        return Hold.ACCOUNT_FROZEN
    if state is AccountState.QUARANTINED:
        return Hold.ACCOUNT_QUARANTINED
    if around.kill_switch:
        return Hold.KILL_SWITCH
    if item.account not in around.led:
        return Hold.NO_LEASE
    if not around.reachable:
        return Hold.CHAIN_UNREACHABLE
    if around.breaker_open:
        return Hold.BREAKER_OPEN
    if around.fee is None:
        return Hold.FEE_ABOVE_CEILING
    if around.room.get(item.account, 0) <= 0:
        return Hold.PIPELINE_FULL
    if around.funds.get(item.account, BaseUnits(0)) < item.amount + around.fee:
        return Hold.INSUFFICIENT_FUNDS
    return None
