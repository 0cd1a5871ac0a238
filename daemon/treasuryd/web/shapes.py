"""Our values as REST shows them: flat objects, lower-case words, integers in base units, times in Unix seconds."""

from collections.abc import Mapping, Sequence
from typing import Any

from treasuryd.commands.office import Outcome
from treasuryd.commands.proposals import Ballot
from treasuryd.commands.queries import Balance, Detail, ExecutorStatus
from treasuryd.core.explain import Explanation
from treasuryd.core.health import Check, Facts
from treasuryd.core.intake import MAX_ITEMS, Intake
from treasuryd.core.model import (
    Account,
    AccountId,
    BalanceEvent,
    BreakerReport,
    ChainState,
    Disbursement,
    Intent,
    Lease,
    LeaseSeen,
    Moment,
    StoreFacts,
    Vote,
)
from treasuryd.core.staging import proposal_json, receipts_json

Json = dict[str, Any]


def disbursement(item: Disbursement) -> Json:
    """One disbursement, flat; a field that does not apply is null."""
    return {
        "id": item.id,
        "status": item.status,
        "account": item.account,
        "destination": item.destination,
        "amount": item.amount,
        "memo": item.memo,
        "scheduled_epoch": item.scheduled_epoch,
        "depends_on": list(item.depends_on),
        "expected_receipts": receipts_json(item.expected_receipts),
        "proposal": None if item.proposal is None else proposal_json(item.proposal),
        "payload_digest": item.payload_digest,
        "idempotency_key": item.idempotency_key,
        "created_at": item.created_at,
        "status_at": item.status_at,
        "vote_deadline_epoch": item.vote_deadline_epoch,
        "activation_epoch": item.activation_epoch,
        "ready_epoch": item.ready_epoch,
        "hold": item.hold,
        "hold_detail": item.hold_detail or None,
        "cancel_requested": item.cancel_requested,
        "tx_hash": item.tx_hash,
        "fee_paid": item.fee_paid,
        "executed_height": item.executed_height,
        "executed_epoch": item.executed_epoch,
        "executed_at": item.executed_at,
        "evidence": item.evidence,
        "finalized_at": item.finalized_at,
        "rolled_back_at": item.rolled_back_at,
        "reason": item.reason,
        "prior_tx": item.prior_tx,
    }


def intake(gate: Intake) -> Json:
    """What is accepted from those who submit."""
    rules = gate.rules
    return {
        "accounts": list(gate.accounts),
        "sinks": {account: rules.sink_of(account) for account in gate.accounts},
        "destination_pattern": rules.destination_pattern,
        "allow_treasury_initiated": rules.allow_treasury_initiated,
        "evidence": gate.evidence,
        "max_items": MAX_ITEMS,
    }


def detail(found: Detail) -> Json:
    """One disbursement with every intent ever bound to it."""
    return {**disbursement(found.item), "intents": [intent(bound) for bound in found.intents]}


def intent(bound: Intent) -> Json:
    """One intent with its variants, without the bytes."""
    return {
        "id": bound.id,
        "account": bound.account,
        "nonce": bound.nonce,
        "state": bound.state,
        "term": bound.term,
        "staged_at": bound.staged_at,
        "sent_at": bound.sent_at,
        "height": bound.height,
        "block_hash": bound.block_hash,
        "evidence": bound.evidence,
        "winner": bound.winner,
        "variants": [
            {
                "number": variant.number,
                "kind": variant.kind,
                "fee": variant.fee,
                "tx_hash": variant.tx_hash,
                "sent_at": variant.sent_at,
                "attempts": variant.attempts,
            }
            for variant in bound.variants
        ],
    }


def explanation(item: Disbursement, said: Explanation) -> Json:
    """Why it is not paid yet: the hold as a word, and the sentence."""
    return {
        "id": item.id,
        "status": item.status,
        "paid": said.paid,
        "hold": said.hold,
        "sentence": f"disbursement {item.id}: {said.sentence}",
    }


def outcome(row: Outcome) -> Json:
    """What became of one item of a command."""
    return {"id": row.id, "done": row.done, "what": row.what, "detail": row.detail}


def vote(taken: Vote) -> Json:
    """One signed vote as it is stored."""
    return {
        "house": taken.house,
        "key": taken.key,
        "counter": taken.counter,
        "decision": taken.decision,
        "signature": taken.signature,
        "taken_at": taken.taken_at,
        "seen_epoch": taken.seen_epoch,
    }


def ballot(found: Ballot) -> Json:
    """What is voted on, what has to be signed, and how it stands."""
    return {
        "id": found.item.id,
        "status": found.item.status,
        "payload_digest": found.item.payload_digest,
        "chain_id": found.chain_id,
        "vote_deadline_epoch": found.item.vote_deadline_epoch,
        "houses": [
            {
                "house": stand.house,
                "approving": stand.approving,
                "weight": stand.weight,
                "quorum_ppm": stand.quorum_ppm,
                "met": stand.met,
            }
            for stand in found.houses
        ],
        "votes": [vote(taken) for taken in found.votes],
    }


def balance(found: Balance) -> Json:
    """One account's money."""
    return {
        "account": found.account,
        "chain_balance": found.chain,
        "booked_balance": found.booked,
        "height": found.height,
        "last_event": None if found.last is None else balance_event(found.last),
    }


def balance_event(event: BalanceEvent) -> Json:
    """One movement of an account's booked balance."""
    return {
        "id": event.id,
        "account": event.account,
        "kind": event.kind,
        "delta": event.delta,
        "fee": event.fee,
        "balance": event.balance,
        "recorded_at": event.recorded_at,
        "disbursement_id": event.disbursement_id,
        "height": event.height,
    }


def breaker(row: BreakerReport) -> Json:
    """One circuit breaker."""
    return {
        "endpoint": row.endpoint,
        "class": row.call_class,
        "state": row.state,
        "mode": row.mode,
        "failures": row.failures,
        "successes": row.successes,
        "rejections": row.rejections,
        "transitions": row.transitions,
        "reopens_in_seconds": row.reopens_in_seconds,
    }


def account(row: Account) -> Json:
    """One paying account."""
    baseline = row.baseline
    return {
        "id": row.id,
        "state": row.state,
        "cause": row.cause or None,
        "detail": row.detail or None,
        "next_nonce": row.next_nonce,
        "high_water": row.high_water,
        "thaw_above": row.thaw_above,
        "lost_payments": list(row.lost_payments),
        "lost_nonces": list(row.lost_nonces),
        "baseline_height": None if baseline is None else baseline.height,
    }


def lease(row: LeaseSeen, led: Mapping[AccountId, Lease]) -> Json:
    """Who holds an account's lease, and whether that is this process."""
    return {
        "account": row.account,
        "holder": row.holder or None,
        "incarnation": row.incarnation or None,
        "term": row.term,
        "released": row.released,
        "ours": row.account in led,
    }


def check(row: Check) -> Json:
    """One question about health."""
    return {"name": row.name, "verdict": row.verdict, "reason": row.reason}


def store(facts: StoreFacts) -> Json:
    """The store's version, mode and contents."""
    return {
        "sqlite_version": facts.sqlite_version,
        "journal_mode": facts.journal_mode,
        "schema_version": facts.schema_version,
        "lineage": facts.lineage,
        "disbursements": {str(status): count for status, count in sorted(facts.counts.items())},
        "held_for_person": facts.held_for_person,
        "ambiguous": facts.ambiguous,
    }


def chain(stored: ChainState | None, moment: Moment | None, facts: Facts | None = None) -> Json:
    """The chain as believed: heights in blocks, epochs, the age of the head in seconds."""
    believed = moment.believed if moment is not None else (stored.believed if stored else None)
    reported = facts.reported_height if facts is not None else None
    if facts is not None and facts.believed_height is not None:
        believed = facts.believed_height  # of the same reading as the claim
    return {
        "chain_id": stored.chain_id if stored else None,
        "genesis": stored.genesis if stored else None,
        "height": believed,
        "reported_height": reported,
        "not_believed_blocks": max(reported - believed, 0)
        if reported is not None and believed is not None
        else None,
        "settled_height": stored.settled_height if stored else None,
        "settled_epoch": stored.settled if stored else None,
        "seen_epoch": moment.seen if moment is not None else None,
        "head_age_seconds": None if facts is None else facts.chain_age_seconds,
        "evidence": moment.evidence if moment is not None else None,
    }


def executor_status(found: ExecutorStatus) -> Json:
    """The original's snapshot fields, flat, and ours beside them."""
    first = found.leases[0] if found.leases else None
    own = next((row for row in found.accounts if first is not None and row.id == first.account), None)
    snapshot = found.snapshot
    return {
        "last_tick_at": snapshot.last_tick_at,
        "last_success_at": snapshot.last_success_at,
        "last_error_at": snapshot.last_error_at,
        "last_error": snapshot.last_error,
        "pending_matured": snapshot.pending_matured,
        "staged_intents": snapshot.staged_intents,
        "last_submitted_nonce": snapshot.last_submitted_nonce,
        **lease_snapshot(first, own),
        "leader": bool(found.led),
        "kill_switch": found.kill_switch,
        "leases": [lease(row, found.led) for row in found.leases],
        "accounts": [account(row) for row in found.accounts],
        "chain": chain(found.chain, found.moment),
        "store": store(found.facts),
    }


def lease_snapshot(row: LeaseSeen | None, own: Account | None) -> Json:
    """
    The original's lease fields.

    `lease_expires_at` and `lease_renewed_at` stay null: no wall-clock time of a lease is stored here, since nobody may
    compare it (protocol.md §6.1).
    """
    return {
        "lease_holder": (row.holder or None) if row is not None else None,
        "lease_term": row.term if row is not None else None,
        "lease_expires_at": None,
        "lease_renewed_at": None,
        "lease_last_nonce": own.high_water if own is not None else None,
        "lease_released": row.released if row is not None else False,
    }


def many(rows: Sequence[object], **more: object) -> Json:
    """A list as an object, so that it can grow."""
    return {"items": list(rows), **more}
