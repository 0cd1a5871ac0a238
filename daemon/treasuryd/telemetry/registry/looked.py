"""
What is read at the moment of the scrape: gauges of running objects, and of the store as it was at most a second ago.

None of them can keep a value from before the executor died. What a breaker counts is exported as a counter from here, too.
"""

from typing import Final

from treasuryd.core.model import CALL_SECONDS, CallClass, CallOutcome, Hold, Status
from treasuryd.telemetry.labels import BackupKind
from treasuryd.telemetry.registry.family import (
    ACCOUNT,
    ENDPOINT,
    Family,
    Kind,
    Label,
    Unit,
    capped,
    chosen,
    closed,
)

BACKLOG: Final = (Status.DRAFT, Status.VOTING, Status.QUEUED, Status.TIMELOCKED, Status.EXECUTED)
STORED_HOLDS: Final = (
    Hold.DEPENDENCY_FAILED, Hold.DEPENDENCY_MISSING, Hold.DEPENDENCY_CIRCULAR, Hold.NEEDS_RELEASE, Hold.REFUSED,
    Hold.POISONED, Hold.RESTORED, Hold.APPROVAL_LOST, Hold.AMBIGUOUS,
)  # fmt: skip

_RUNNING: Final = "the scrape, from running objects"
_STORE: Final = "the scrape, from the store at most 1 s ago"
_UNREADABLE: Final = "while the store cannot be read"
_NOT_ADOPTED: Final = "until the account has a baseline"
_STANDBY: Final = "on a standby, where the leader writes the copy; while the store cannot be read"
_NO_READING: Final = "until a tick has read the chain"
_LED: Final = "on a standby, which does not read the heads"
_CALLS: Final = (ENDPOINT, closed("call_class", CallClass))
_BREAKER: Final = (ENDPOINT, closed("class", CallClass))


def _gauge(name: str, unit: Unit, text: str, filled_by: str, *labels: Label, absent: str = "") -> Family:
    return Family(
        name=name, kind=Kind.GAUGE, unit=unit, help=text, filled_by=filled_by, labels=labels, absent=absent
    )


# --- the process ---------------------------------------------------------------------------------------------------
BUILD: Final = Family(
    name="treasuryd_build_info",
    kind=Kind.INFO,
    unit=Unit.COUNT,
    help="What is running.",
    filled_by="the build",
    labels=tuple(capped(name, of="one value", at_most=1) for name in ("version", "python", "sqlite")),
)
LOOP_LAG: Final = _gauge(
    "treasuryd_event_loop_lag_seconds",
    Unit.SECONDS,
    "How late the event loop came back to a task, at worst in the last 10 s.",
    _RUNNING,
)
CLOCK_SKEW: Final = _gauge(
    "treasury_clock_skew_seconds",
    Unit.SECONDS,
    "How far the wall clock has moved against the boot clock since the start; negative: it was set back.",
    _RUNNING,
)

# --- breakers and calls ----------------------------------------------------------------------------------------
BREAKER_STATE: Final = _gauge(
    "treasury_circuit_breaker_state",
    Unit.COUNT,
    "0 closed, 1 open, 2 half-open; a breaker starts half-open.",
    _RUNNING,
    *_BREAKER,
)
BREAKER_FAILURES: Final = _gauge(
    "treasury_circuit_breaker_failures",
    Unit.COUNT,
    "Failures counted since the start.",
    _RUNNING,
    *_BREAKER,
)
BREAKER_SUCCESSES: Final = _gauge(
    "treasury_circuit_breaker_successes",
    Unit.COUNT,
    "Successes counted since the start, slow ones among them.",
    _RUNNING,
    *_BREAKER,
)
BREAKER_FORCED: Final = _gauge(
    "treasury_circuit_breaker_forced", Unit.TRUTH, "1 where a person decided.", _RUNNING, *_BREAKER
)
BREAKER_TRANSITIONS: Final = Family(
    name="treasury_circuit_breaker_transitions_total",
    kind=Kind.COUNTER,
    unit=Unit.COUNT,
    help="Changes of the breaker's state or mode.",
    filled_by=_RUNNING,
    labels=_BREAKER,
)
BREAKER_REJECTIONS: Final = Family(
    name="treasury_circuit_breaker_rejections_total",
    kind=Kind.COUNTER,
    unit=Unit.COUNT,
    help="Calls not made because the breaker refused.",
    filled_by=_RUNNING,
    labels=_BREAKER,
)
CALLS: Final = Family(
    name="treasury_chain_calls_total",
    kind=Kind.COUNTER,
    unit=Unit.COUNT,
    help="Calls to nodes; `ignored`: it says nothing of the node; `rejected`: our breaker refused it.",
    filled_by=_RUNNING,
    labels=(
        *_CALLS,
        closed("outcome", CallOutcome),
    ),
)
CALL_DURATION: Final = Family(
    name="treasury_chain_call_duration_seconds",
    kind=Kind.HISTOGRAM,
    unit=Unit.SECONDS,
    help="How long calls took that left for a node, without the wait for our own limiter.",
    filled_by=_RUNNING,
    labels=_CALLS,
    buckets=CALL_SECONDS,
)

# --- the executor ----------------------------------------------------------------------------------------------
LAST_TICK: Final = _gauge(
    "treasury_executor_last_tick_seconds",
    Unit.UNIX_SECONDS,
    "When the last tick ended; 0: none yet. A standby's look counts.",
    _RUNNING,
)
LAST_SUCCESS: Final = _gauge(
    "treasury_executor_last_success_seconds",
    Unit.UNIX_SECONDS,
    "When the last tick ended that did not fail; 0: none yet.",
    _RUNNING,
)
LAST_ERROR: Final = _gauge(
    "treasury_executor_last_error_seconds",
    Unit.UNIX_SECONDS,
    "When the last tick failed; 0: none.",
    _STORE,
    absent=_UNREADABLE,
)
LOOP_FED: Final = _gauge(
    "treasury_executor_loop_fed_age_seconds",
    Unit.SECONDS,
    "Since the event loop last fed the watchdog.",
    _RUNNING,
)
READY: Final = _gauge(
    "treasury_executor_ready", Unit.TRUTH, "1 from the start's end to the stop's begin.", _RUNNING
)
WAITING: Final = _gauge(
    "treasury_disbursements_waiting",
    Unit.COUNT,
    "Items that the last tick did not stage, by reason.",
    "event `tick`",
    closed("hold", Hold),
)
PENDING: Final = _gauge(
    "treasury_executor_pending_matured",
    Unit.COUNT,
    "Items that may be paid and are not.",
    _STORE,
    absent=_UNREADABLE,
)
STAGED: Final = _gauge(
    "treasury_executor_staged_intents", Unit.COUNT, "Intents under way.", _STORE, absent=_UNREADABLE
)
LAST_NONCE: Final = _gauge(
    "treasury_executor_last_submitted_nonce", Unit.COUNT, "Highest nonce sent.", _STORE, absent=_UNREADABLE
)

# --- leadership ------------------------------------------------------------------------------------------------
ACTIVE: Final = _gauge(
    "treasury_executor_active", Unit.TRUTH, "1 where this process may act.", _RUNNING, ACCOUNT
)
LEASE_VALID: Final = _gauge(
    "treasury_lease_valid_seconds",
    Unit.SECONDS,
    "What is left of our lease, as it was last renewed; 0: not ours.",
    _RUNNING,
    ACCOUNT,
)
LEASE_TERM: Final = _gauge(
    "treasury_lease_term",
    Unit.COUNT,
    "The lease's term as stored: how often it changed hands.",
    _STORE,
    ACCOUNT,
    absent=_UNREADABLE,
)
LEASE_RELEASED: Final = _gauge(
    "treasury_executor_lease_released",
    Unit.TRUTH,
    "1 where nobody holds the lease.",
    _STORE,
    ACCOUNT,
    absent=_UNREADABLE,
)
LEASE_NONCE: Final = _gauge(
    "treasury_executor_lease_last_nonce",
    Unit.COUNT,
    "Highest nonce ever staged.",
    _STORE,
    ACCOUNT,
    absent=_UNREADABLE,
)

# --- the chain -------------------------------------------------------------------------------------------------
CHAIN_HEIGHT: Final = _gauge(
    "treasury_chain_height", Unit.BLOCKS, "Believed height.", _RUNNING, absent=_NO_READING
)
CHAIN_SETTLED: Final = _gauge(
    "treasury_chain_settled_epoch",
    Unit.EPOCHS,
    "Settled epoch, which never falls.",
    _RUNNING,
    absent=_NO_READING,
)
CHAIN_SEEN: Final = _gauge(
    "treasury_chain_seen_epoch", Unit.EPOCHS, "Seen epoch.", _RUNNING, absent=_NO_READING
)
CHAIN_BASE_FEE: Final = _gauge(
    "treasury_chain_base_fee",
    Unit.BASE_UNITS,
    "What the chain charges for each transaction.",
    _RUNNING,
    absent="where the last tick could not read it",
)
CHAIN_REPORTED: Final = _gauge(
    "treasury_chain_reported_height",
    Unit.BLOCKS,
    "Highest height that a node claims.",
    _RUNNING,
    absent=_NO_READING,
)
CHAIN_LAG: Final = _gauge(
    "treasury_chain_lag_seconds",
    Unit.SECONDS,
    "Since the believed head last rose.",
    _RUNNING,
    absent=_NO_READING,
)
ENDPOINT_LAG: Final = _gauge(
    "treasury_chain_endpoint_lag_blocks",
    Unit.BLOCKS,
    "How far the lowest believed head of a node that answers lies behind the highest one.",
    _RUNNING,
    absent=_LED,
)
ENDPOINTS_DIFFER: Final = _gauge(
    "treasury_chain_endpoints_differ_seconds",
    Unit.SECONDS,
    "For how long nodes that answer have been too far apart, on two chains, or contradicted each other; 0: they agree.",
    _RUNNING,
    absent=_LED,
)

# --- the store -------------------------------------------------------------------------------------------------
KILL_SWITCH: Final = _gauge(
    "treasury_kill_switch",
    Unit.TRUTH,
    "1 while a person has switched sending off.",
    _STORE,
    absent=_UNREADABLE,
)
STORE_READABLE: Final = _gauge(
    "treasury_store_readable", Unit.TRUTH, "1 where the last reading of the store succeeded.", _STORE
)
BACKLOG_BY_STATUS: Final = _gauge(
    "treasury_disbursement_backlog",
    Unit.COUNT,
    "Unfinished disbursements; `executed` waits for finality and the rollback window.",
    _STORE,
    chosen("status", BACKLOG),
    absent=_UNREADABLE,
)
OLDEST_AGE: Final = _gauge(
    "treasury_disbursement_scheduled_oldest_age_seconds",
    Unit.SECONDS,
    "For how long the oldest disbursement has been payable and in no block; 0: there is none.",
    _STORE,
    absent=_UNREADABLE,
)
HELD: Final = _gauge(
    "treasury_disbursements_held",
    Unit.COUNT,
    "Items that wait for a person, by the stored hold.",
    _STORE,
    chosen("hold", STORED_HOLDS),
    absent=_UNREADABLE,
)
UNKNOWN: Final = _gauge(
    "treasury_outcome_unknown",
    Unit.COUNT,
    "Ambiguous intents: a nonce is consumed and nothing proves by what; a person decides.",
    _STORE,
    ACCOUNT,
    absent=_UNREADABLE,
)
JOURNAL_HEAD: Final = _gauge(
    "treasury_journal_head", Unit.COUNT, "Number of the journal's last entry.", _STORE, absent=_UNREADABLE
)
COPY_LAG: Final = _gauge(
    "treasury_journal_copy_lag_entries",
    Unit.COUNT,
    "Entries of the journal that its copy outside the store does not hold yet.",
    _STORE,
    absent=_UNREADABLE,
)
STORE_SIZE: Final = _gauge(
    "treasury_store_size_bytes", Unit.BYTES, "Size of the store's files.", _STORE, absent=_UNREADABLE
)
STORE_FREE: Final = _gauge(
    "treasury_store_free_bytes",
    Unit.BYTES,
    "Free space of the store's file system.",
    _STORE,
    absent=_UNREADABLE,
)

# --- backups ---------------------------------------------------------------------------------------------------
BACKUP_SUCCESS: Final = _gauge(
    "backup_last_success_timestamp_seconds",
    Unit.UNIX_SECONDS,
    "When the newest backup was taken; the journal's copy outside the store is one as long as it lacks nothing.",
    _STORE,
    closed("kind", BackupKind),
    absent=_STANDBY,
)
BACKUP_SIZE: Final = _gauge(
    "backup_size_bytes",
    Unit.BYTES,
    "Size of the newest backup.",
    _STORE,
    closed("kind", BackupKind),
    absent=_STANDBY,
)
BACKUP_DURATION: Final = _gauge(
    "backup_duration_seconds",
    Unit.SECONDS,
    "How long taking the newest backup took.",
    _STORE,
    closed("kind", BackupKind),
    absent=_STANDBY,
)

# --- accounts --------------------------------------------------------------------------------------------------
BALANCE: Final = _gauge(
    "treasury_balance",
    Unit.BASE_UNITS,
    "Balance at the baseline: what the chain showed at the finality depth.",
    _STORE,
    ACCOUNT,
    absent=_NOT_ADOPTED,
)
FROZEN: Final = _gauge(
    "treasury_account_frozen",
    Unit.TRUTH,
    "1 where an account is frozen or quarantined.",
    _STORE,
    ACCOUNT,
    absent=_UNREADABLE,
)
QUARANTINED: Final = _gauge(
    "treasury_account_quarantined",
    Unit.TRUTH,
    "1 where the store may be older than the world.",
    _STORE,
    ACCOUNT,
    absent=_UNREADABLE,
)
UNEXPLAINED: Final = _gauge(
    "treasury_unexplained_movement",
    Unit.TRUTH,
    "1 where the chain moved in a way that is not ours.",
    _STORE,
    ACCOUNT,
    absent=_UNREADABLE,
)
STORE_INFO: Final = Family(
    name="treasury_store_info",
    kind=Kind.INFO,
    unit=Unit.COUNT,
    help="How the store is kept.",
    filled_by=_STORE,
    labels=tuple(capped(name, of="one value", at_most=1) for name in ("sqlite", "journal_mode", "schema")),
    absent=_UNREADABLE,
)

FAMILIES: Final = tuple(value for value in list(vars().values()) if isinstance(value, Family))
