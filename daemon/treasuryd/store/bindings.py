"""
The signer's bindings in a store that does not hold them: what was signed may be out, whatever stands here (§8.1, §8.4).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from itertools import groupby, islice
from typing import Any, Final

from treasuryd.core import restore
from treasuryd.core.events import Event, EventKind, Severity
from treasuryd.core.lifecycle import Fact
from treasuryd.core.model import (
    AccountId,
    Binding,
    DisbursementId,
    Held,
    Hold,
    Intent,
    IntentId,
    Marks,
    Nonce,
    Proof,
    Rules,
    SignRequest,
    State,
    UnixSeconds,
    VariantKind,
)
from treasuryd.sqlite.connect import Connection
from treasuryd.store import dependencies
from treasuryd.store.quarantine import LISTED, SQL
from treasuryd.store.restore_report import put_report, report
from treasuryd.store.rows import SHARED, ids_json, intents
from treasuryd.store.standing import SQL as STAGING
from treasuryd.store.standing import standing
from treasuryd.store.voiding import void
from treasuryd.store.work import Work, ours

UNDER_WAY: Final = "a cancellation was under way when the store was lost"
OPEN: Final = frozenset({State.STAGED, State.SIGNED, State.BROADCAST})
JUDGEABLE: Final = OPEN | {State.AMBIGUOUS}


@dataclass(slots=True)
class Adopted:
    """What one page of bindings came to; kept in the report of the quarantine."""

    adopted: list[dict[str, Any]] = field(default_factory=list)
    # in words -> intent and nonce as the signer has them, and the item that is in the way here
    contradictions: dict[str, tuple[IntentId, Nonce, DisbursementId | None]] = field(default_factory=dict)

    def contradicted(self, by: SignRequest, detail: str, item: DisbursementId | None) -> None:
        """Note what does not agree with this store; a person decides about it once its nonce is final."""
        self.contradictions[detail] = (by.intent_id, by.nonce, item)


# --- what the store does not hold ----------------------------------------------------------------------------


def lowest_open(connection: Connection, account: AccountId) -> Nonce:
    """From which nonce on the signer's bindings are compared: everything below it is settled here."""
    return Nonce(connection.execute(SQL["lowest_open"], (account,)).fetchone()[0])


def unsigned(connection: Connection, account: AccountId) -> list[Intent]:
    """Intents that are bound here and not signed."""
    ids = [row[0] for row in connection.execute(SQL["staged_ids"], (account,)).fetchall()]
    return intents(connection.execute(SHARED["intents_by_id_without_bytes"], (ids_json(ids),)).fetchall())


def take_back(
    connection: Connection, rules: Rules, ids: Sequence[IntentId], held: Held, now: UnixSeconds
) -> tuple[Event, ...]:
    """Void staged intents that the signer promised never to bind: above its mark, or under a nonce of another (§8.4)."""
    work, allowed = Work(connection, rules, now), ours(connection, held)
    for intent in standing(connection, ids).values():
        if intent.account in allowed and intent.may(Fact.NEVER_BOUND):
            intent.advance(Fact.NEVER_BOUND)
            void(
                work, intent, Proof.NEVER_BOUND, hold=None, detail="staged in a restored store, never signed"
            )
    return work.finish("take_back")


def adopt(
    connection: Connection,
    rules: Rules,
    bindings: Sequence[Binding],
    judged: Collection[IntentId],
    held: Held,
    now: UnixSeconds,
) -> tuple[Event, ...]:
    """
    Take in what the signer bound: its disbursement is timelocked with a broadcast intent, whatever stood here (§8.1).

    Args: bindings in nonce order, all variants of an intent together; judged are those that a person declared void.
    Guarantees: what is settled here stays; repeating it changes nothing. What contradicts the store is not taken in: it is
        named in the report, and the account stays in quarantine.
    """
    work, allowed = Work(connection, rules, now), ours(connection, held)
    found = Adopted()
    for intent_id, group in groupby(bindings, key=lambda one: one.request.intent_id):
        rows = list(group)
        if rows[0].request.account in allowed:
            _adopt_one(work, rows, found, void_=intent_id in judged)
    if bindings:
        _report(connection, bindings[0].request.account, found)
    return work.finish("adopt")


def _report(connection: Connection, account: AccountId, found: Adopted) -> None:
    said = report(connection)
    accounts = said.setdefault("accounts", {})
    row = accounts.setdefault(account, {"adopted": [], "contradictions": []})
    row["adopted"] = [*row["adopted"], *found.adopted][:LISTED]
    disputed = {**row.get("disputed", {}), **found.contradictions}
    if disputed:
        row["disputed"] = dict(islice(disputed.items(), LISTED))
        row["contradictions"] = list(row["disputed"])
    put_report(connection, said)


def _adopt_one(work: Work, rows: Sequence[Binding], found: Adopted, *, void_: bool) -> None:
    request = rows[0].request
    stored = work.connection.execute(SQL["bound_intent"], (request.intent_id,)).fetchone()
    if stored is None:
        _take_in(work, rows, found, void_=void_)
    elif tuple(stored[:5]) != _content(request):
        if not void_:
            detail = f"intent {request.intent_id} pays something else here than the signer bound to it"
            found.contradicted(request, detail, request.disbursement_id)
    elif stored[5] in OPEN and not _complete(work, rows, State(stored[5]), found):
        return
    elif void_ and stored[5] in JUDGEABLE:
        stands = standing(work.connection, [request.intent_id])[request.intent_id]
        void(
            work,
            stands,
            Proof.JUDGED,
            hold=Hold.NEEDS_RELEASE,
            detail="a person had judged it before the restore",
        )
    elif stored[6] == Proof.NEVER_BOUND and not void_:
        detail = f"intent {request.intent_id} counts as never signed here, and the signer signed it"
        found.contradicted(request, detail, request.disbursement_id)


def _content(request: SignRequest) -> tuple[Any, ...]:
    return (
        request.account,
        request.nonce,
        request.disbursement_id,
        request.destination,
        request.amount,
    )


def _complete(work: Work, rows: Sequence[Binding], was: State, found: Adopted) -> bool:
    """Take in the bytes that the signer gave for an intent of the store; answers whether they agree with its own."""
    request = rows[0].request
    known = dict(work.connection.execute(SQL["variants_of"], (request.intent_id,)).fetchall())
    fresh = [one for one in rows if known.get(one.request.variant) != one.tx_hash]
    if any(known.get(one.request.variant) for one in fresh):
        detail = f"intent {request.intent_id}: other bytes here than the signer gave"
        found.contradicted(request, detail, request.disbursement_id)
        return False
    work.many(SQL["import_variant"], [_variant(one, work.now) for one in fresh])
    work.connection.execute(SQL["drop_unsigned"], (request.intent_id,))
    work.connection.execute(SQL["out_bound"], (request.intent_id, work.now))
    work.many(SQL["reopen_bound"], [(request.intent_id, work.now, max(one.request.fee for one in rows))])
    if _cancelled(rows):
        work.connection.execute(SQL["cancel_bound"], (request.disbursement_id, UNDER_WAY))
    if fresh or was is not State.BROADCAST:
        _tell(work, request, found, imported=False)
    return True


def _take_in(work: Work, rows: Sequence[Binding], found: Adopted, *, void_: bool) -> None:
    """An intent that the store does not hold."""
    request, connection = rows[0].request, work.connection
    taken = connection.execute(SQL["live_by_nonce"], (request.account, request.nonce)).fetchone()
    if taken is not None and not void_:
        detail = (
            f"nonce {request.nonce} is intent {taken[0]} here, and intent {request.intent_id} to the signer"
        )
        found.contradicted(request, detail, request.disbursement_id)
        return
    item, imported = request.disbursement_id, False
    if item is not None:
        stored = connection.execute(SQL["bound_item"], (item,)).fetchone()
        against = _against(connection, request, stored)
        if against is not None:
            if not void_:
                found.contradicted(request, *against)
            return
        imported = stored is None
        if imported:
            row = (item, *_of_item(request)[:4], request.idempotency_key, request.payload_digest, work.now)
            work.many(SQL["import_item"], [row])
            connection.execute(SQL["raise_counter"], ("disbursement", item + 1))
    work.many(SQL["import_intent"], [_intent(rows, work.now, void_=void_)])
    work.many(SQL["import_variant"], [_variant(one, work.now) for one in rows])
    connection.execute(SQL["out_bound"], (request.intent_id, work.now))
    connection.execute(SQL["raise_counter"], ("intent", request.intent_id + 1))
    if item is not None and not void_:
        _bind(work, rows, item)
    _tell(work, request, found, imported=imported)


def _of_item(request: SignRequest) -> tuple[Any, ...]:
    return (request.account, request.destination, request.amount, request.memo, request.payload_digest)


def _against(
    connection: Connection, request: SignRequest, stored: Sequence[Any] | None
) -> tuple[str, DisbursementId | None] | None:
    """Say how the store contradicts what the signer bound to an item, and which item is in the way; None: it does not."""
    item = request.disbursement_id
    if stored is None:
        key = request.idempotency_key
        owner = connection.execute(SQL["key_owner"], (key,)).fetchone()
        if owner is None:
            return None
        detail = f"the idempotency key {key!r} is disbursement {owner[0]} here, and {item} to the signer"
        return detail, DisbursementId(owner[0])
    if tuple(stored[:5]) != _of_item(request):
        return f"disbursement {item} has other content here than the signer bound to it", item
    live = stored[5]
    if live is None:
        return None
    detail = (
        f"disbursement {item} is being paid by intent {live} here, and by {request.intent_id} to the signer"
    )
    return detail, item


def _bind(work: Work, rows: Sequence[Binding], item: DisbursementId) -> None:
    """Bind an item that has no live intent here."""
    asked = UNDER_WAY if _cancelled(rows) else None
    work.many(SQL["bind_restored"], [(item, rows[0].request.intent_id, work.now, asked)])
    dependencies.recount_dependents(work.connection, [item], work.rules)


def _cancelled(rows: Sequence[Binding]) -> bool:
    return any(one.request.kind is VariantKind.CANCEL for one in rows)


def _tell(work: Work, request: SignRequest, found: Adopted, *, imported: bool) -> None:
    row = (request.intent_id, request.nonce, request.disbursement_id, imported)
    work.note(request.account, "adopted_from_signer", row)
    work.fact(
        EventKind.SEALED, request.account, "adopted", item=request.disbursement_id, severity=Severity.WARNING
    )
    found.adopted.append(
        {
            "nonce": request.nonce,
            "intent": request.intent_id,
            "id": request.disbursement_id,
            "imported": imported,
        }
    )


def _intent(rows: Sequence[Binding], now: UnixSeconds, *, void_: bool) -> tuple[Any, ...]:
    request = rows[0].request
    return (
        request.intent_id,
        request.account,
        request.nonce,
        request.disbursement_id,
        request.destination,
        request.amount,
        max(one.request.fee for one in rows),
        request.term,
        State.VOID if void_ else State.BROADCAST,
        None if void_ else 1,
        None if void_ else "watch",
        now,
        Proof.JUDGED if void_ else None,
    )


def _variant(one: Binding, now: UnixSeconds) -> tuple[Any, ...]:
    request = one.request
    return (
        request.intent_id, request.variant, request.kind, request.fee, now, one.tx_hash, one.tx_bytes,
    )  # fmt: skip


# --- repaired ------------------------------------------------------------------------------------------------


def taken_up(
    connection: Connection, rules: Rules, account: AccountId, marks: Marks, held: Held, now: UnixSeconds
) -> tuple[Event, ...]:
    """
    End the repair of one account: its sequence is above all that the signer knows, and what may be missing is held.

    Guarantees: where nothing of the store's past is missing no item is held; else every one that is not bound (§8.2).
    """
    work, allowed = Work(connection, rules, now), ours(connection, held)
    if account not in allowed:
        return ()
    said = report(connection)
    signs = [restore.Sign(one["sign"]) for one in said.get("found", ())]
    connection.execute(SQL["raise_counter"], ("disbursement", marks.disbursement_id + 1))
    connection.execute(SQL["raise_counter"], ("intent", marks.intent_id + 1))
    row = said.setdefault("accounts", {}).setdefault(account, {"adopted": [], "contradictions": []})
    row |= {"signer_nonce": marks.nonce, "signer_term": marks.term, "held": 0}
    if restore.hold_all(signs):
        detail = "it was in the restored store; what was said of it since is lost"
        row["held"] = connection.execute(SQL["hold_restored"], (account, detail)).rowcount
        work.fact(
            EventKind.HELD, account, "restored", severity=Severity.WARNING, detail=f"{row['held']} items"
        )
    detail = (
        f"; {len(row['adopted'])} adopted from the signer, {row['held']} held: `treasuryd quarantine show`"
    )
    if not connection.execute(SQL["taken_up"], (account, detail, marks.nonce)).rowcount:
        return ()
    raised = (marks.nonce, marks.disbursement_id, marks.term, account)
    work.many(STAGING["sealed"], [raised])
    put_report(connection, said)
    work.note(account, "taken_up", (marks.nonce, len(row["adopted"]), row["held"]))
    return work.finish("taken_up")
