"""
People's verdicts where the chain gave none: ambiguous intents (R5 d), and payments that a deep reorg took (R9).

The books follow the verdict: what was paid is booked, and once nothing of an interval waits for a person any more, so is
the remainder that its two frames show (protocol.md §5.1).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import orjson

from treasuryd.core.events import Event, EventKind, Severity
from treasuryd.core.lifecycle import DISBURSEMENT, INTENT, Fact, Turn, advance
from treasuryd.core.model import (
    AccountId,
    AccountState,
    Approval,
    BalanceKind,
    BaseUnits,
    Disbursement,
    DisbursementId,
    FreezeCause,
    Height,
    Hold,
    Holding,
    Intent,
    IntentId,
    Nonce,
    NotWritten,
    Proof,
    Rules,
    State,
    Status,
    Variant,
    VariantKind,
)
from treasuryd.core.proposals import windows
from treasuryd.errors import Refusal, Rejected
from treasuryd.sqlite.connect import Connection
from treasuryd.store.accounts import Movement, move
from treasuryd.store.dependencies import recount_dependents
from treasuryd.store.desk_items import blocks_left, event, existing, missing, of_kind, one, tell
from treasuryd.store.desk_queries import DESK, intents_of
from treasuryd.store.rows import SHARED, chain_state, ids_json, intents
from treasuryd.store.standing import standing
from treasuryd.store.voiding import void
from treasuryd.store.work import Work


@dataclass(frozen=True, slots=True, kw_only=True)
class _Interval:
    """Where an ambiguous intent was consumed: two heights, and what each shows of the account."""

    first: Height
    second: Height
    before: Holding
    after: Holding


def resolve(
    connection: Connection,
    ids: Sequence[DisbursementId],
    *,
    paid: bool,
    by: Approval,
    believed: Height,
    rules: Rules,
) -> list[Event | NotWritten]:
    """
    Judge ambiguous intents by a person's word, each at finality depth: paid, or void.

    Paid: executed, evidence PERSON, with every hash that it may have been. Void: rolled back where a cancellation was
    requested, held `needs_release` otherwise.
    """
    work = Work(connection, rules, by.at)
    found = existing(connection, ids)
    answers = [
        _judge(work, row, item, found.get(item), paid=paid, by=by, believed=believed)
        for row, item in enumerate(ids)
    ]
    judged = of_kind(answers, EventKind.RESOLVED)
    if judged:
        if paid:
            recount_dependents(connection, judged, rules)
        tell(connection, "resolve", by, {"paid": paid, "judged": judged})
    work.finish("resolve")
    return answers


def _judge(
    work: Work,
    row: int,
    item: DisbursementId,
    stored: Disbursement | None,
    *,
    paid: bool,
    by: Approval,
    believed: Height,
) -> Event | NotWritten:
    intent = _judgeable(work.connection, row, item, stored, believed=believed, rules=work.rules)
    if isinstance(intent, NotWritten):
        return intent
    assert stored is not None
    interval = _interval(work.connection, intent)
    cost = _judge_paid(work, stored, intent, interval) if paid else _judge_void(work, intent, by)
    _book_remainder(work, stored.account, interval, cost)
    return event(EventKind.RESOLVED, stored, "paid" if paid else "void", f"intent {intent.id}")


def judgeable(
    connection: Connection, ids: Sequence[DisbursementId], *, believed: Height, rules: Rules
) -> list[IntentId | NotWritten]:
    """Say which ambiguous intents `resolve` would judge now; changes nothing."""
    found = existing(connection, ids)
    rows = [
        _judgeable(connection, row, item, found.get(item), believed=believed, rules=rules)
        for row, item in enumerate(ids)
    ]
    return [row if isinstance(row, NotWritten) else row.id for row in rows]


def _judgeable(
    connection: Connection,
    row: int,
    item: DisbursementId,
    stored: Disbursement | None,
    *,
    believed: Height,
    rules: Rules,
) -> Intent | NotWritten:
    if stored is None:
        return missing(row, item)
    intent = _ambiguous(connection, stored)
    if intent is None:
        return NotWritten(
            row=row, reason="not_ambiguous", detail=f"disbursement {item} has no ambiguous intent"
        )
    second = _interval(connection, intent).second
    if second + rules.finality_depth > believed:
        left = blocks_left(second, believed, rules)
        return NotWritten(
            row=row, reason="not_deep", detail=f"disbursement {item} can be judged in {left} blocks"
        )
    return intent


def _ambiguous(connection: Connection, stored: Disbursement) -> Intent | None:
    if stored.live_intent is None:
        return None
    return next((one for one in intents_of(connection, stored.id) if one.state is State.AMBIGUOUS), None)


def _interval(connection: Connection, intent: Intent) -> _Interval:
    first_height, second_height, first, second = connection.execute(
        DESK["ambiguity_of"], (intent.id,)
    ).fetchone()
    return _Interval(
        first=Height(first_height),
        second=Height(second_height),
        before=_holding(first, intent.account),
        after=_holding(second, intent.account),
    )


def _holding(text: str, account: AccountId) -> Holding:
    """What the stored frame of an ambiguity shows of the paying account; nothing where the chain did not know it."""
    balance, nonce = orjson.loads(text)["holdings"].get(account) or (0, 0)
    return Holding(balance=BaseUnits(balance), nonce=Nonce(nonce))


def _judge_paid(work: Work, stored: Disbursement, intent: Intent, interval: _Interval) -> int:
    """
    Executed by a person's word; answers what is booked for it.

    The fee is that of the newest payment sent: which it was nobody knows, and the remainder corrects it.
    """
    candidates = _sent_payments(intent)
    newest = candidates[-1]
    advance(INTENT, intent.state, Fact.JUDGED_PAID)
    advance(DISBURSEMENT, stored.status, Turn.PAID)
    verdict = (intent.id, newest.number, newest.fee, interval.second)
    assert work.connection.execute(DESK["judge_intent"], verdict).rowcount == 1
    epoch = interval.second // work.rules.epoch_blocks
    ends = epoch + windows(stored.proposal, work.rules).rollback
    hashes = ",".join(str(variant.tx_hash) for variant in candidates)
    row = (stored.id, hashes, newest.fee, interval.second, epoch, work.now, ends, intent.id)
    assert work.connection.execute(DESK["execute_by_judgement"], row).rowcount == 1
    cost = intent.amount + newest.fee
    paid = Movement(
        account=stored.account,
        kind=BalanceKind.EXECUTION,
        delta=-cost,
        fee=newest.fee,
        item=stored.id,
        intent=intent.id,
        height=interval.second,
    )
    move(work, [paid])
    return cost


def _sent_payments(intent: Intent) -> list[Variant]:
    """Every payment that may have been it; sealed ones where no sending was recorded (the bytes may have left)."""
    payments = [one for one in intent.variants if one.kind is VariantKind.PAYMENT and one.tx_hash is not None]
    return [one for one in payments if one.sent_at is not None] or payments


def _judge_void(work: Work, intent: Intent, by: Approval) -> int:
    """Void as by any other proof: what a requested cancellation and the dependents make of it is decided there."""
    advance(INTENT, intent.state, Fact.JUDGED_VOID)
    stands = standing(work.connection, [intent.id])[intent.id]
    detail = f"intent {intent.id} was judged void by {by.who}"
    void(work, stands, Proof.JUDGED, hold=Hold.NEEDS_RELEASE, detail=detail)
    return 0


def judge_fillers(connection: Connection, rules: Rules, account: AccountId, *, by: Approval) -> None:
    """
    Void the ambiguous fillers of an account by a person's word: they paid nobody, whatever was included.

    The person ends a quarantine (§8), or thaws (R9): no other command names what has no disbursement. What was lost with
    their nonces is booked as unexplained.
    Raises: Rejected (CONFLICT) while one of those nonces was used above finality depth: it may still leave the chain.
    """
    rows = connection.execute(DESK["ambiguous_fillers"], (account,)).fetchall()
    if not rows:
        return
    believed = Height(chain_state(connection).settled_height + rules.finality_depth)  # as `resolve` counts
    last = max(row[1] for row in rows)
    if last + rules.finality_depth > believed:
        raise Rejected(
            f"the account {account}: what used the nonce of a filler is not final yet, in "
            f"{blocks_left(last, believed, rules)} blocks",
            hint="Until it is at finality depth it may still leave the chain.",
            field="account",
            kind=Refusal.CONFLICT,
        )
    work = Work(connection, rules, by.at)
    ids = ids_json(row[0] for row in rows)
    for intent in intents(connection.execute(SHARED["intents_by_id_without_bytes"], (ids,)).fetchall()):
        _book_remainder(work, intent.account, _interval(connection, intent), _judge_void(work, intent, by))
    work.finish("judge_fillers")


def _book_remainder(work: Work, account: AccountId, interval: _Interval, cost: int) -> None:
    """
    Once nothing of the interval is undecided: book what its frames show and nothing explains.

    What was consumed before its baseline was read has no interval: the books followed the balance then, so that the
    verdict's own cost is balanced at once. (Two frames of one height are an interval where a block was replaced.)
    """
    left = cost
    if interval.second > interval.first or interval.after != interval.before:
        heights = (account, interval.first, interval.second)
        if work.connection.execute(DESK["still_ambiguous"], heights).fetchone()[0]:
            return
        span = (*heights, interval.before.nonce, interval.after.nonce)
        explained = int(work.connection.execute(DESK["explained"], span).fetchone()[0])
        left = interval.after.balance - interval.before.balance - explained
    if left:
        kind = BalanceKind.FUNDING if left > 0 else BalanceKind.UNEXPLAINED
        move(work, [Movement(account=account, kind=kind, delta=left, height=interval.second)])


# --- a deep reorg ---------------------------------------------------------------------------------------------------


def reopen(connection: Connection, item: DisbursementId, *, by: Approval, rules: Rules) -> Event:
    """
    A paid item that a reorg deeper than finality took: its intent is broadcast again, by the same bytes (§2, R9).

    Raises: Rejected (CONFLICT) unless its account is frozen for such a reorg and its intent was final.
    """
    stored = one(connection, item)
    intent = _lost(connection, stored)
    advance(INTENT, intent.state, Fact.REOPENED)
    finalized = stored.status is Status.FINALIZED
    advance(DISBURSEMENT, stored.status, Turn.REOPENED if finalized else Turn.UNPAID)
    cost = int(connection.execute(DESK["cost_of"], (intent.id,)).fetchone()[0])
    assert connection.execute(DESK["reopen_intent"], (intent.id,)).rowcount == 1
    row = (item, stored.status, intent.id, by.at)
    assert connection.execute(DESK["reopen_disbursement"], row).rowcount == 1
    if finalized:
        connection.execute(DESK["count_finalized"], (-1,))
    taken_back = Movement(
        account=stored.account,
        kind=BalanceKind.REVERSAL,
        delta=cost,
        item=item,
        intent=intent.id,
        height=intent.height,
    )
    again = [taken_back]  # it is booked anew when it is included again
    if intent.nonce <= (connection.execute(DESK["account_row"], (stored.account,)).fetchone()[4] or 0):
        # the baseline shows its nonce used: the money went, and until it is judged nobody knows for what
        unknown = replace(taken_back, kind=BalanceKind.UNEXPLAINED, delta=-cost, item=None)
        again.append(unknown)
    move(Work(connection, rules, by.at), again)
    recount_dependents(connection, [item], rules)
    tell(connection, "reopen", by, {"id": item, "intent": intent.id, "tx_hash": stored.tx_hash})
    return Event(
        kind=EventKind.REOPENED,
        severity=Severity.WARNING,
        account=stored.account,
        ids=(item,),
        reason="deep_reorg",
        amount=stored.amount,
    )


def _lost(connection: Connection, stored: Disbursement) -> Intent:
    """The final intent of an item on an account that a deep reorg froze."""
    final = [found for found in intents_of(connection, stored.id) if found.state is State.FINAL]
    if not final or stored.status not in {Status.EXECUTED, Status.FINALIZED}:
        raise Rejected(
            f"disbursement {stored.id} is {stored.status}: only a payment that was final is reopened",
            field="id",
            kind=Refusal.CONFLICT,
        )
    state, cause, *_ = connection.execute(DESK["account_row"], (stored.account,)).fetchone()
    if (state, cause) != (AccountState.FROZEN, FreezeCause.DEEP_REORG):
        raise Rejected(
            f"the account {stored.account} saw no reorg deeper than the finality depth",
            hint="Only what such a reorg took from the chain is reopened; the account is frozen by it.",
            field="id",
            kind=Refusal.CONFLICT,
        )
    return final[0]
