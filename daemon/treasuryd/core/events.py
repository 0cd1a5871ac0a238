"""What happened, as one frozen event; log lines and metrics are two renderings of it (style.md rule 25)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from treasuryd.core.model import AccountId, BaseUnits, DisbursementId


class EventKind(StrEnum):
    """Names of facts; the log event is `treasuryd.<name>`. Never built from untrusted text."""

    # disbursements
    SUBMITTED = "disbursement_submitted"
    ADVANCED = "disbursement_advanced"
    VOTED = "vote_taken"
    HELD = "disbursement_held"
    RELEASED = "disbursement_released"
    CANCEL_REQUESTED = "cancel_requested"
    ROLLED_BACK = "disbursement_rolled_back"
    FINALIZED = "disbursement_finalized"
    REOPENED = "disbursement_reopened"
    # intents
    STAGED = "intent_staged"
    UNSTAGED = "intent_unstaged"
    VARIANT_STAGED = "variant_staged"
    SEALED = "intent_sealed"
    SENT = "intent_sent"
    HEAD_WAITS = "head_of_line_waits"  # the oldest unburned nonce is in no block for too long (R8): page
    INCLUDED = "intent_included"
    REORGED = "intent_reorged"
    FINAL = "intent_final"
    VOIDED = "intent_voided"
    AMBIGUOUS = "intent_ambiguous"
    RESOLVED = "intent_resolved"
    # accounts, chain, lease, breaker
    ACCOUNT_ADOPTED = "account_adopted"
    ACCOUNT_FROZEN = "account_frozen"
    ACCOUNT_THAWED = "account_thawed"
    ACCOUNT_QUARANTINED = "account_quarantined"
    SIGNER_IMPORTED = "signer_imported"  # a person had the signer take in what it forgot (R11)
    FILL_ORDERED = "fill_ordered"  # a person had nonces filled that pay nobody any more (R9)
    BASELINE_MOVED = "baseline_moved"
    BALANCE_MOVED = "balance_moved"
    DEPOSIT_ANNOUNCED = "deposit_announced"
    CHAIN_MOVED = "chain_moved"
    HEAD_NOT_BELIEVED = "head_not_believed"
    ENDPOINT_CONTRADICTS = (
        "endpoint_contradicts"  # a nonce fell although no header changed (R9): no verdict, page
    )
    ENDPOINTS_DIFFER = "endpoints_differ"  # one stands still, or they follow two chains, for too long: page
    LOOKUP_MISSING = "lookup_missing"  # what was sent while there was look-up waits for it (interfaces.md §5)
    REORGED_CHAIN = "chain_reorged"  # a kept header changed: the baseline goes back (R9)
    HASH_MISMATCH = "hash_mismatch"  # the node names another hash than ours (R3)
    LEASE_CLAIMED = "lease_claimed"
    LEASE_LOST = "lease_lost"
    LEASE_RELEASED = "lease_released"
    BREAKER_CHANGED = "breaker_changed"
    BREAKER_FORCED = "breaker_forced"
    CALL_FAILED = "chain_call_failed"
    AUDITED = "audit_passed"  # every disbursement was looked at once more
    AUDIT_VIOLATION = "audit_violation"  # a rule of payment is broken in what is stored: page
    # the process
    TICKED = "tick"
    TICK_FAILED = "tick_failed"
    STARTED = "started"
    STOPPING = "stopping"
    STOPPED = "stopped"
    RELOADED = "settings_reloaded"
    RELOAD_REFUSED = "settings_reload_refused"
    OBSERVER_CHANGED = "observer_changed"  # a source of the chain observer fails, or is read again
    REQUEST_FAILED = "request_failed"  # a request ended in an error of ours; the caller got its id


class Severity(StrEnum):
    """How loud a fact is; PAGE is for a person now (an alert rule watches it)."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    PAGE = "page"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """
    One fact, possibly of many rows (`count`); `ids` names at most 20 of them.

    `reason` is a member of a closed set (safe as a metric label); `detail` is free text, capped by the renderer;
    `fields` are small values for the log line. `seconds` are durations to observe (tick; from payable to the block), if
    any, `step_seconds` those since a payment's step before. `fee` is what the rows cost together, beside `amount`.
    """

    kind: EventKind
    severity: Severity = Severity.INFO
    account: AccountId | None = None
    count: int = 1
    ids: tuple[DisbursementId, ...] = ()
    reason: str = ""
    amount: BaseUnits | None = None
    fee: BaseUnits | None = None
    seconds: tuple[float, ...] = ()
    step_seconds: tuple[float, ...] = ()
    detail: str = ""
    fields: Mapping[str, str | int | float | bool | None] = field(default_factory=dict)
