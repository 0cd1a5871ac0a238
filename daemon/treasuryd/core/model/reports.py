"""What people read: never an input to a decision."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from treasuryd.core.model.disbursements import Disbursement
from treasuryd.core.model.ids import (
    AccountId,
    BaseUnits,
    DisbursementId,
    Endpoint,
    Height,
    Nonce,
    UnixSeconds,
)
from treasuryd.core.model.words import BalanceKind, BreakerMode, BreakerState, CallClass, Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """The original's filters of the disbursement list (issue: REST list). Bounds are inclusive."""

    statuses: tuple[Status, ...] = ()
    destination: str | None = None
    account: AccountId | None = None
    min_epoch: int | None = None
    max_epoch: int | None = None
    min_amount: int | None = None
    max_amount: int | None = None
    min_created_at: int | None = None
    max_created_at: int | None = None
    min_status_ts: int | None = None
    max_status_ts: int | None = None
    cursor: DisbursementId | None = None  # ids below it, newest first
    limit: int = 50  # 1 … 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of disbursements, newest first."""

    items: tuple[Disbursement, ...]
    next_cursor: DisbursementId | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceEvent:
    """One movement of an account's booked balance; `delta` is signed, `balance` is the booked balance after it."""

    id: int
    account: AccountId
    kind: BalanceKind
    delta: int
    fee: BaseUnits
    balance: int
    recorded_at: UnixSeconds
    disbursement_id: DisbursementId | None = None
    height: Height | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerReport:
    """One breaker, for people and metrics."""

    endpoint: Endpoint
    call_class: CallClass
    state: BreakerState
    mode: BreakerMode
    failures: int
    successes: int
    rejections: int
    transitions: int
    reopens_in_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerOverride:
    """A person's word on one breaker; persisted and audited."""

    endpoint: Endpoint
    call_class: CallClass
    mode: BreakerMode
    reason: str
    who: str = ""
    at: UnixSeconds = UnixSeconds(0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The executor's last tick, for people and dashboards (the original's snapshot fields); never an input."""

    last_tick_at: UnixSeconds | None = None
    last_success_at: UnixSeconds | None = None
    last_error_at: UnixSeconds | None = None
    last_error: str | None = None
    pending_matured: int = 0
    staged_intents: int = 0
    last_submitted_nonce: Nonce | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreFacts:
    """What `/health` says of the store."""

    sqlite_version: str
    journal_mode: str
    schema_version: int
    lineage: str
    counts: Mapping[Status, int] = field(default_factory=dict)
    held_for_person: int = 0
    ambiguous: int = 0
