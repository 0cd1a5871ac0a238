"""
People's commands on disbursements: cancel, roll back, release (protocol.md §2).

Each row is written by compare-and-set on what was read in the same transaction (R10), so that of a cancel and a staging
at the same moment exactly one wins. One journal entry per command says who wanted what, why, and what came of it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from treasuryd.core.eligibility import dependencies_hold
from treasuryd.core.events import Event, EventKind
from treasuryd.core.lifecycle import DISBURSEMENT, Turn, advance
from treasuryd.core.model import (
    AccountId,
    Approval,
    Disbursement,
    DisbursementId,
    Height,
    Hold,
    Intent,
    NotWritten,
    Rules,
    State,
    Status,
)
from treasuryd.core.restore import Sign
from treasuryd.errors import Refusal, Rejected
from treasuryd.ports import Rows
from treasuryd.sqlite.connect import Connection
from treasuryd.store import journal
from treasuryd.store.dependencies import fail_dependents, recount_dependents, statuses_of
from treasuryd.store.desk_queries import DESK, by_id, intents_of
from treasuryd.store.restore_report import report, was_found
from treasuryd.store.rows import chain_state, ids_json

MAX_IDS: Final = 1_000  # in one command
BY_DEPENDENCIES: Final = frozenset(
    {Hold.DEPENDENCY_FAILED, Hold.DEPENDENCY_MISSING, Hold.DEPENDENCY_CIRCULAR}
)


def cancel(
    connection: Connection, ids: Sequence[DisbursementId], *, by: Approval
) -> list[Event | NotWritten]:
    """
    Roll back what has no live intent; durably request it where there is one (§2, R7). Repeating is harmless.

    What depends directly on a rolled-back item is held in the same transaction. In quarantine nothing is rolled back that
    may have been paid, by what the store does not remember (§8): it cannot be paid there either.
    """
    found = existing(connection, ids)
    closed = _quarantined(connection, found)
    answers = [_cancel(connection, row, item, found.get(item), by, closed) for row, item in enumerate(ids)]
    rolled = of_kind(answers, EventKind.ROLLED_BACK)
    failed = fail_dependents(connection, rolled) if rolled else []
    written = {
        "rolled_back": rolled,
        "requested": [
            item
            for item in of_kind(answers, EventKind.CANCEL_REQUESTED)
            if found[item].cancel_requested is None
        ],
        "dependents_held": [item for item, _ in failed],
    }
    if any(written.values()):
        tell(connection, "cancel", by, written)
    return answers


def _cancel(
    connection: Connection,
    row: int,
    item: DisbursementId,
    stored: Disbursement | None,
    by: Approval,
    closed: Mapping[AccountId, bool],
) -> Event | NotWritten:
    if stored is None:
        return missing(row, item)
    if stored.live_intent is None and Turn.CANCELLED in DISBURSEMENT[stored.status]:
        if _may_be_paid(connection, stored, closed):
            return _unknown(row, stored)
        values = (item, by.reason, by.at, stored.status)
        changed = connection.execute(DESK["roll_back_unpaid"], values).rowcount
        return event(EventKind.ROLLED_BACK, stored, "cancelled") if changed else _changed(row, item)
    if stored.status is Status.TIMELOCKED:
        detail = "its payment may be out: it is replaced on the same nonce, and the one that is final decides"
        if stored.cancel_requested is None:
            asked = (item, by.reason, stored.live_intent)
            if not connection.execute(DESK["request_cancel"], asked).rowcount:
                return _changed(row, item)
        return event(EventKind.CANCEL_REQUESTED, stored, "cancelled", detail)
    hint = " and can be rolled back in its rollback window" if stored.status is Status.EXECUTED else ""
    return NotWritten(
        row=row, reason=str(stored.status), detail=f"disbursement {item} is {stored.status}{hint}"
    )


def _may_be_paid(connection: Connection, stored: Disbursement, closed: Mapping[AccountId, bool]) -> bool:
    """
    Whether something that the store does not remember may have paid an item of an account in quarantine (§8).

    Where the file moved, the whole machine may have been set back with it, and nothing is held before the account leaves.
    """
    if stored.account not in closed:
        return False
    if closed[stored.account] or stored.hold is Hold.RESTORED:
        return True
    return was_found(report(connection), Sign.MOVED)


def rollback(connection: Connection, item: DisbursementId, *, by: Approval, rules: Rules) -> Event:
    """
    Roll the books of a paid item back in its rollback window; keeps `prior_tx`, moves no money and credits nothing.

    Raises: Rejected (CONFLICT) where it is not executed, its intent is not final yet, or the window is over.
    """
    stored = one(connection, item)
    advance(DISBURSEMENT, stored.status, Turn.ROLLED_BACK)
    intent = _live(connection, stored)
    chain = chain_state(connection)
    if intent.state is not State.FINAL:
        left = blocks_left(intent.height, chain.believed, rules)
        raise Rejected(
            f"disbursement {item} is not final yet: final in {left} blocks",
            hint="A payment that may still leave the chain is not rolled back.",
            field="id",
            kind=Refusal.CONFLICT,
        )
    ends = connection.execute(DESK["finalize_epoch_of"], (item,)).fetchone()[0]
    if ends is not None and chain.settled >= ends:
        raise Rejected(
            f"disbursement {item}: its rollback window ended with epoch {ends}, now it is epoch {chain.settled}",
            field="id",
            kind=Refusal.CONFLICT,
        )
    values = (item, by.reason, by.at, stored.live_intent)
    assert connection.execute(DESK["roll_back_paid"], values).rowcount == 1
    recount_dependents(connection, [item], rules)
    failed = fail_dependents(connection, [item])
    tell(
        connection,
        "rollback",
        by,
        {"id": item, "prior_tx": stored.tx_hash, "dependents_held": [held for held, _ in failed]},
    )
    return event(EventKind.ROLLED_BACK, stored, "rolled_back", "no money moved")


def release(
    connection: Connection, ids: Sequence[DisbursementId], *, by: Approval, rules: Rules
) -> list[Event | NotWritten]:
    """
    End stored holds: the items are eligible again, as far as nothing else keeps them.

    A hold by dependencies ends only when its cause is gone: what was rolled back never satisfies anybody. Where a
    released item has such a dependency it is held for that instead. In quarantine nothing is released: what is not decided
    on the chain yet may still pay it (§8).
    """
    found = existing(connection, ids)
    closed = _quarantined(connection, found)
    answers = [
        _release(connection, row, item, found.get(item), rules, closed) for row, item in enumerate(ids)
    ]
    released = of_kind(answers, EventKind.RELEASED)
    if released:
        tell(connection, "release", by, {"released": [(item, found[item].hold) for item in released]})
    return answers


def _release(
    connection: Connection,
    row: int,
    item: DisbursementId,
    stored: Disbursement | None,
    rules: Rules,
    closed: Mapping[AccountId, bool],
) -> Event | NotWritten:
    if stored is None:
        return missing(row, item)
    if stored.hold is None:
        return NotWritten(row=row, reason="not_held", detail=f"disbursement {item} has no hold to release")
    if stored.live_intent is not None:
        return NotWritten(
            row=row, reason="in_flight", detail=f"disbursement {item}: its intent has to be void first"
        )
    if stored.account in closed:
        return _unknown(row, stored)
    _, known, _ = statuses_of(connection, [item], rules)
    still = dependencies_hold(stored, known=known)  # what only waits for others may be released
    if stored.hold in BY_DEPENDENCIES and still in BY_DEPENDENCIES:
        return NotWritten(
            row=row,
            reason=str(still),
            detail=f"disbursement {item} is held {still}: it can never be paid; cancel it and submit it anew",
        )
    if not connection.execute(DESK["release_hold"], (item, stored.hold)).rowcount:
        return _changed(row, item)
    if still is Hold.DEPENDENCY_FAILED:
        fail_dependents(
            connection, [needed for needed in stored.depends_on if known[needed] is Status.ROLLED_BACK]
        )
    return event(EventKind.RELEASED, stored, str(stored.hold))


# --- what the commands on disbursements have in common ------------------------------------------------------------


def existing(connection: Connection, ids: Sequence[DisbursementId]) -> dict[DisbursementId, Disbursement]:
    """
    Read what a command names.

    Raises: Rejected for more than 1,000 ids, or one named twice.
    """
    if len(ids) > MAX_IDS:
        raise Rejected(
            f"ids: {len(ids)} disbursements, the limit is {MAX_IDS}", field="ids", kind=Refusal.TOO_LARGE
        )
    if len(set(ids)) != len(ids):
        raise Rejected("ids: a disbursement is named twice", field="ids")
    return by_id(connection, ids)


def one(connection: Connection, item: DisbursementId) -> Disbursement:
    """Read one disbursement; raises Rejected (NOT_FOUND)."""
    found = existing(connection, [item]).get(item)
    if found is None:
        raise Rejected(f"disbursement {item} not found", field="id", kind=Refusal.NOT_FOUND)
    return found


def _live(connection: Connection, stored: Disbursement) -> Intent:
    """The live intent of an item that has one."""
    return next(intent for intent in intents_of(connection, stored.id) if intent.id == stored.live_intent)


def blocks_left(height: Height | None, believed: Height, rules: Rules) -> int:
    """How many blocks until something at `height` is at finality depth; at least 1."""
    return max(1, (height or believed) + rules.finality_depth - believed)


def missing(row: int, item: DisbursementId) -> NotWritten:
    """The answer for an id that does not exist."""
    return NotWritten(row=row, reason="missing", detail=f"there is no disbursement {item}")


def _changed(row: int, item: DisbursementId) -> NotWritten:
    return NotWritten(
        row=row, reason="changed", detail=f"disbursement {item} changed at the same moment; look again"
    )


def _quarantined(
    connection: Connection, found: Mapping[DisbursementId, Disbursement]
) -> dict[AccountId, bool]:
    """Which of their accounts are in quarantine, and whether what the signer bound is still to be adopted there."""
    accounts = ids_json(sorted({stored.account for stored in found.values()}))
    return {row[0]: bool(row[1]) for row in connection.execute(DESK["quarantine_of"], (accounts,)).fetchall()}


def _unknown(row: int, stored: Disbursement) -> NotWritten:
    detail = (
        f"disbursement {stored.id} may have been paid: the account {stored.account} is in quarantine, where nothing new is "
        "paid; say it again when that is over (`treasuryd quarantine show`)"
    )
    return NotWritten(row=row, reason="in_quarantine", detail=detail)


def event(kind: EventKind, stored: Disbursement, reason: str, detail: str = "") -> Event:
    """The fact of one item."""
    return Event(
        kind=kind,
        account=stored.account,
        ids=(stored.id,),
        reason=reason,
        amount=stored.amount,
        detail=detail,
    )


def of_kind(answers: Rows[Event], kind: EventKind) -> list[DisbursementId]:
    """Ids of the rows of which this was the outcome."""
    return [answer.ids[0] for answer in answers if isinstance(answer, Event) and answer.kind is kind]


def tell(connection: Connection, verb: str, by: Approval, body: dict[str, Any]) -> None:
    """Write a command into the journal of people."""
    journal.append(connection, journal.PEOPLE, verb, {"who": by.who, "reason": by.reason, **body}, by.at)
