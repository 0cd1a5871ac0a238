"""
Our values in the shapes of the original's JSON-RPC (The Block, `gov.treasury.*`).

Statuses are externally tagged and PascalCase, records nested as `{"disbursement", "deps"}`, absent options null.
"""

from typing import Any, Final, assert_never

from treasuryd.commands.queries import ExecutorStatus
from treasuryd.core.model import BalanceEvent, BalanceKind, Disbursement, Status
from treasuryd.core.staging import proposal_json, receipts_json
from treasuryd.web.shapes import lease_snapshot

Json = dict[str, Any]

STATUS_NAMES: Final = {
    Status.DRAFT: "Draft",
    Status.VOTING: "Voting",
    Status.QUEUED: "Queued",
    Status.TIMELOCKED: "Timelocked",
    Status.EXECUTED: "Executed",
    Status.FINALIZED: "Finalized",
    Status.ROLLED_BACK: "RolledBack",
}
EVENT_NAMES: Final = {
    BalanceKind.FUNDING: "Accrual",
    BalanceKind.EXECUTION: "Executed",
    BalanceKind.CANCELLATION: "Cancelled",
    BalanceKind.REVERSAL: "Accrual",
    BalanceKind.UNEXPLAINED: "Accrual",
}


def status(item: Disbursement) -> Json:
    """The tagged status with the fields of its kind."""
    inner: Json
    match item.status:
        case Status.DRAFT:
            inner = {"created_at": seconds(item.created_at)}
        case Status.VOTING:
            inner = {"vote_deadline_epoch": item.vote_deadline_epoch or 0}
        case Status.QUEUED:
            inner = {"queued_at": seconds(item.queued_at), "activation_epoch": item.activation_epoch or 0}
        case Status.TIMELOCKED:
            inner = {"ready_epoch": item.ready_epoch or 0}
        case Status.EXECUTED:
            inner = {"tx_hash": item.tx_hash or "", "executed_at": seconds(item.executed_at)}
        case Status.FINALIZED:
            inner = {
                "tx_hash": item.tx_hash or "",
                "executed_at": seconds(item.executed_at),
                "finalized_at": seconds(item.finalized_at),
            }
        case Status.ROLLED_BACK:
            inner = {
                "reason": item.reason or "",
                "rolled_back_at": seconds(item.rolled_back_at),
                "prior_tx": item.prior_tx,
            }
        case _:
            assert_never(item.status)
    return {STATUS_NAMES[item.status]: inner}


def record(item: Disbursement) -> Json:
    """One record of the list; its receipts are what is proved to have been paid."""
    paid = item.status in {Status.EXECUTED, Status.FINALIZED}
    return {
        "disbursement": {
            "id": item.id,
            "destination": item.destination,
            "amount": item.amount,
            "memo": item.memo,
            "scheduled_epoch": item.scheduled_epoch,
            "created_at": seconds(item.created_at),
            "status": status(item),
            "proposal": None if item.proposal is None else proposal_json(item.proposal),
            "expected_receipts": receipts_json(item.expected_receipts),
            "receipts": [{"account": item.destination, "amount": item.amount}] if paid else [],
        },
        "deps": list(item.depends_on),
    }


def snapshot(event: BalanceEvent) -> Json:
    """One balance event."""
    return {
        "id": event.id,
        "balance": event.balance,
        "delta": event.delta,
        "recorded_at": seconds(event.recorded_at),
        "event": EVENT_NAMES[event.kind],
        "disbursement_id": event.disbursement_id,
    }


def executor(found: ExecutorStatus) -> Json:
    """The executor's snapshot record."""
    first = found.leases[0] if found.leases else None
    own = next((row for row in found.accounts if first is not None and row.id == first.account), None)
    lease = lease_snapshot(first, own)
    del lease["lease_term"]  # not a field of the original
    last = found.snapshot
    return {
        "last_tick_at": seconds(last.last_tick_at),
        "last_success_at": None if last.last_success_at is None else seconds(last.last_success_at),
        "last_error_at": None if last.last_error_at is None else seconds(last.last_error_at),
        "last_error": last.last_error,
        "pending_matured": last.pending_matured,
        "staged_intents": last.staged_intents,
        "last_submitted_nonce": last.last_submitted_nonce,
        **lease,
    }


def seconds(at: float | None) -> int:
    """Whole Unix seconds, as the original's u64; 0 where there is none."""
    return 0 if at is None else int(at)
