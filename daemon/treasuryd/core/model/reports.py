"""What people read: never an input to a decision."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

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
from treasuryd.core.model.words import (
    AccountState,
    BalanceKind,
    BreakerMode,
    BreakerState,
    CallClass,
    CallOutcome,
    Hold,
    Status,
)

# A node answers in milliseconds and judges a batch in seconds; no call may take longer than 100 s.
CALL_SECONDS: Final = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    100.0,
)


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
class CallTally:
    """
    Calls of one endpoint and class since the start, by what came of them, and how long those took that left.

    `within` counts those that took at most the same place of `CALL_SECONDS`, each call in one place only; what took
    longer is in none.
    """

    outcomes: Mapping[CallOutcome, int] = field(default_factory=dict)
    within: tuple[int, ...] = (0,) * len(CALL_SECONDS)
    made: int = 0  # calls that left
    seconds: float = 0.0  # all of these together


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
    calls: CallTally = field(default_factory=CallTally)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountMeters:
    """What metrics say of one account, as stored."""

    id: AccountId
    state: AccountState = AccountState.ACTIVE
    cause: str = ""
    balance: int | None = None  # at the baseline; None: the chain knows no such account, or was not read yet
    high_water: Nonce = Nonce(0)
    ambiguous: int = 0
    term: int | None = None  # of its lease; None: nobody has asked for one
    released: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyMeters:
    """The journal's copy outside the store, as this process wrote it."""

    behind: int  # entries of the journal that it has not copied
    size_bytes: int
    took_seconds: float  # to append what the last commit wrote


@dataclass(frozen=True, slots=True, kw_only=True)
class Meters:
    """What metrics say of the store: one reading, bounded, of indexes alone. `counts` is without finalized items."""

    counts: Mapping[Status, int]
    held: Mapping[Hold, int]
    accounts: tuple[AccountMeters, ...]
    oldest_payable_at: UnixSeconds | None  # of what is payable and in no block; None: there is nothing
    snapshot: Snapshot
    kill_switch: bool
    journal_head: int
    copy: CopyMeters | None
    size_bytes: int
    free_bytes: int
    sqlite_version: str
    journal_mode: str
    schema_version: int
