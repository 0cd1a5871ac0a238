"""
Binds disbursements to nonces, and takes back what the signer will never bind (protocol.md R1, R2, R10, R11).

Everything that the plan assumed is checked again here, on the rows, inside the transaction that binds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from treasuryd.core.eligibility import reason_to_hold
from treasuryd.core.events import Event
from treasuryd.core.lifecycle import Fact
from treasuryd.core.model import (
    CONSUMED,
    AccountId,
    AccountState,
    Address,
    BaseUnits,
    DisbursementId,
    Draft,
    Epoch,
    Evidence,
    Held,
    Hold,
    Intent,
    IntentId,
    Moment,
    Nonce,
    NotWritten,
    Proof,
    Refused,
    Rules,
    UnixSeconds,
    Variant,
    VariantKind,
)
from treasuryd.ports import Many, Recorded
from treasuryd.sqlite.connect import Connection
from treasuryd.store import dependencies
from treasuryd.store.calendar import Calendar
from treasuryd.store.rows import SHARED, STATUSES, ids_json, take_ids
from treasuryd.store.standing import SQL, Standing, standing
from treasuryd.store.voiding import void
from treasuryd.store.work import Work, ours

INDISTINCT = (
    "its destination is a sink or an account of this treasury, and nothing would prove that it was paid"
)
FOREVER = frozenset({Hold.DEPENDENCY_MISSING, Hold.DEPENDENCY_CIRCULAR, Hold.DEPENDENCY_FAILED})


@dataclass(slots=True)
class Purse:
    """One account while a batch is numbered: the next nonce, and what is not promised yet."""

    state: AccountState
    next_nonce: Nonce | None
    funds: int
    consumed: Nonce


def stage(
    connection: Connection,
    rules: Rules,
    drafts: Many[Draft],
    held: Held,
    at: Moment,
    calendar: Calendar | None = None,
) -> tuple[list[Intent | NotWritten], tuple[Event, ...]]:
    """
    Check, number in the order of the drafts, and bind; one that fails falls out alone, and its nonce is not used.

    Guarantees: intent, nonce and disbursement are bound in one transaction, or none of them.
    """
    work = Work(connection, rules, at.unix, calendar)
    staging = _Staging(work, drafts, held, at)
    answers: list[Intent | NotWritten] = []
    for place, draft in enumerate(drafts):
        hold = staging.hold_of(draft)
        if hold is None:
            answers.append(staging.bind(draft))
        else:
            answers.append(NotWritten(row=place, reason=hold, detail=f"disbursement {draft.disbursement_id}"))
    staging.write()
    return answers, work.finish("stage")


class Checked:
    """As much of a disbursement's row (`to_stage`) as the predicate of eligibility reads."""

    __slots__ = (
        "account",
        "amount",
        "cancel_requested",
        "depends_on",
        "hold",
        "id",
        "live_intent",
        "scheduled_epoch",
        "status",
    )

    def __init__(self, row: Sequence[Any], edges: Sequence[DisbursementId]) -> None:
        self.id: DisbursementId = row[0]
        self.account: AccountId = row[1]
        self.amount: BaseUnits = row[3]
        self.scheduled_epoch: Epoch = row[5]
        self.depends_on = tuple(edges)
        self.status = STATUSES[row[8]]
        self.live_intent: IntentId | None = row[9]
        self.cancel_requested: str | None = row[10]
        self.hold = None if row[11] is None else Hold(row[11])


class _Staging:
    """One batch, between reading the rows and writing the intents."""

    def __init__(self, work: Work, drafts: Many[Draft], held: Held, at: Moment) -> None:
        self._work, self._held, self._at = work, held, at
        connection = work.connection
        ids = [draft.disbursement_id for draft in drafts]
        self._ours = ours(connection, held)
        self._killed = bool(connection.execute(SHARED["kill_switch"]).fetchone()[0])
        self._edges, self._known, self._satisfied = dependencies.statuses_of(connection, ids, work.rules)
        rows = connection.execute(SQL["to_stage"], (ids_json(ids),))
        self._rows = {row[0]: row for row in rows.fetchall()}
        accounts = ids_json({draft.account for draft in drafts})
        self._purses = {
            row[0]: Purse(
                AccountState(row[1]), row[2], (row[3] or 0) - row[5], Nonce(0 if row[4] is None else row[4])
            )
            for row in connection.execute(SQL["paying_accounts"], (accounts,))
        }
        self._most = len(drafts)
        self._next_id: int | None = (
            None  # taken with the first one that passes: a batch of none changes nothing
        )
        self._own: set[Address] = set()  # every account of this store, whoever leads it
        self._sinks: set[Address] = set()
        for account, sink in connection.execute(SQL["own_addresses"]).fetchall():
            self._own.add(Address(account))
            self._sinks |= {Address(sink or ""), work.rules.sink_of(account)}
        self._bound: list[Intent] = []
        self._payable: dict[DisbursementId, UnixSeconds] = {}

    def hold_of(self, draft: Draft) -> str | None:
        """Name what keeps a draft from being bound; None: nothing does."""
        if draft.account not in self._ours:
            return "fenced"
        row = self._rows.pop(draft.disbursement_id, None)  # popped: the same one twice is bound once
        if row is None:
            return "missing"
        content = (draft.account, draft.destination, draft.amount, draft.memo)
        if content != row[1:5] or (draft.payload_digest, draft.idempotency_key) != row[6:8]:
            return "changed"
        hold = self._item_hold(row) or self._worldly_hold(draft)
        if hold is None and self._indistinct(draft):
            hold = Hold.REFUSED  # stored, so that a person hears of it: a tick would try it for ever
            dependencies.hold(self._work, row[0], draft.account, hold, INDISTINCT)
        if hold is None:
            self._payable[row[0]] = self._work.calendar.payable_since(row[12], row[5], self._work.rules)
        return None if hold is None else f"held:{hold}"

    def _item_hold(self, row: Sequence[Any]) -> Hold | None:
        item = Checked(row, self._edges.get(row[0], ()))
        hold = reason_to_hold(
            item,
            settled=self._at.settled,
            known=self._known,
            satisfied=self._satisfied,
            rules=self._work.rules,
        )
        if hold in FOREVER and item.hold is None:
            dependencies.hold(self._work, item.id, item.account, hold, "found when it was to be staged")
        elif hold is Hold.DEPENDENCY_PENDING:  # its counter says otherwise: somebody wrote rows by hand
            dependencies.recount(self._work.connection, [item.id], self._work.rules)
            dependencies.mend(self._work, item.account)
        return hold

    def _worldly_hold(self, draft: Draft) -> Hold | None:
        purse = self._purses[draft.account]
        if self._killed:
            return Hold.KILL_SWITCH
        if purse.state is AccountState.FROZEN:
            return Hold.ACCOUNT_FROZEN
        if purse.state is AccountState.QUARANTINED:
            return Hold.ACCOUNT_QUARANTINED
        if purse.next_nonce is None or purse.next_nonce <= purse.consumed:
            return Hold.CHAIN_UNREACHABLE  # not adopted yet, or the chain is ahead of us: R14 decides, not we
        if purse.funds < draft.amount + draft.fee:
            return Hold.INSUFFICIENT_FUNDS
        return None

    def _indistinct(self, draft: Draft) -> bool:
        """
        Whether it pays what §5.1 could not tell apart: the payer, a sink, or an own account without look-up.

        Intake refuses it, by the accounts and the evidence of that day.
        """
        own = draft.destination == Address(draft.account) or self._at.evidence is not Evidence.HASH
        return draft.destination in self._sinks or (own and draft.destination in self._own)

    def bind(self, draft: Draft) -> Intent:
        """Give it the next nonce of its account."""
        purse = self._purses[draft.account]
        assert purse.next_nonce is not None
        if self._next_id is None:
            self._next_id = take_ids(self._work.connection, "intent", self._most)
        intent = Intent(
            id=IntentId(self._next_id),
            account=draft.account,
            nonce=purse.next_nonce,
            disbursement_id=draft.disbursement_id,
            destination=draft.destination,
            amount=draft.amount,
            memo=draft.memo,
            payload_digest=draft.payload_digest,
            idempotency_key=draft.idempotency_key,
            term=self._held.leases[draft.account].term,
            variants=(Variant(number=1, kind=VariantKind.PAYMENT, fee=draft.fee),),
            staged_at=self._work.now,
            payable_at=self._payable[draft.disbursement_id],
        )
        self._next_id += 1
        purse.next_nonce = Nonce(purse.next_nonce + 1)
        purse.funds -= draft.amount + draft.fee
        self._bound.append(intent)
        return intent

    def write(self) -> None:
        """Write what was bound: a few statements for the whole batch."""
        work, now = self._work, self._work.now
        rows = [
            (
                i.id,
                i.account,
                i.nonce,
                i.disbursement_id,
                i.destination,
                i.amount,
                i.variants[0].fee,
                i.term,
                now,
            )
            for i in self._bound
        ]
        work.many(SQL["insert_intent"], rows)
        work.many(
            SQL["insert_variant"],
            [(intent.id, 1, VariantKind.PAYMENT, intent.variants[0].fee, now) for intent in self._bound],
        )
        work.many(SQL["bind"], [(intent.id, intent.disbursement_id) for intent in self._bound])
        touched = {intent.account for intent in self._bound}
        work.many(SQL["numbered"], [(self._purses[account].next_nonce, account) for account in touched])
        for row in rows:
            work.note(row[1], "staged", (row[0], row[2], row[3], row[6]))


# --- taking back ----------------------------------------------------------------------------------------------


def unstage(
    connection: Connection, rules: Rules, refused: Many[Refused], held: Held, now: UnixSeconds
) -> Recorded:
    """
    Void rows that the signer attests never to bind (R5 c) and return their nonces.

    A row comes back unwritten while something live stands behind it: returning its nonce would leave a gap.
    """
    work = Work(connection, rules, now)
    allowed = ours(connection, held)
    ids = [row.intent_id for row in refused if row.intent_id is not None]
    known = standing(connection, ids)
    unwritten: list[NotWritten] = []
    taken: dict[AccountId, list[tuple[Refused, Standing]]] = {}
    for place, row in enumerate(refused):
        intent = None if row.intent_id is None else known.get(row.intent_id)
        if intent is None or not row.final or not intent.may(Fact.NEVER_BOUND):
            unwritten.append(NotWritten(row=place, reason="changed", detail=f"intent {row.intent_id}"))
        elif intent.account not in allowed:
            unwritten.append(NotWritten(row=place, reason="fenced", detail=intent.account))
        else:
            intent.advance(Fact.NEVER_BOUND)
            taken.setdefault(intent.account, []).append((row, intent))
    for account, rows in taken.items():
        unwritten += _return_nonces(work, account, rows, refused)
    return Recorded(events=work.finish("unstage"), unwritten=tuple(unwritten))


def _return_nonces(
    work: Work, account: AccountId, rows: Sequence[tuple[Refused, Standing]], refused: Many[Refused]
) -> list[NotWritten]:
    """
    Void the rows at the end of the sequence, from the last one down to the first gap.

    A filler stands in the midst of it and gives nothing back: its nonce is open again, and a person's to fill.
    """
    highest = work.connection.execute(SQL["highest_live"], (account,)).fetchone()[0]
    last = Nonce(highest)
    unwritten: list[NotWritten] = []
    for row, intent in sorted(rows, key=lambda pair: pair[1].nonce, reverse=True):
        if intent.item is None:
            void(work, intent, Proof.NEVER_BOUND, hold=None, detail=row.detail or row.reason)
            continue
        if intent.nonce != last:
            detail = f"nonce {intent.nonce} is not the last one"
            unwritten.append(NotWritten(row=refused.index(row), reason="not_last", detail=detail))
            continue
        hold = Hold.REFUSED if row.first else Hold.NEEDS_RELEASE if row.reason == CONSUMED else None
        void(work, intent, Proof.NEVER_BOUND, hold=hold, detail=row.detail or row.reason)
        last = Nonce(last - 1)
    if last != highest:
        work.many(SQL["return_nonces"], [(last + 1, account)])
    return unwritten
