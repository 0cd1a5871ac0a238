"""Stores the exact bytes that the signer answered: from here on they may leave (protocol.md R1, R3)."""

from binascii import b2a_base64

from treasuryd.core.lifecycle import Fact
from treasuryd.core.model import (
    AccountId,
    DisbursementId,
    Held,
    Intent,
    IntentId,
    Marks,
    Nonce,
    NotWritten,
    Rules,
    Signed,
    State,
    Term,
    UnixSeconds,
)
from treasuryd.ports import Many
from treasuryd.sqlite.connect import Connection
from treasuryd.store.rows import SHARED, ids_json, intents
from treasuryd.store.standing import SQL, Bytes, Standing, standing
from treasuryd.store.work import Work, ours

SEALABLE = frozenset({State.STAGED, State.SIGNED, State.BROADCAST})


def seal(
    connection: Connection, rules: Rules, signed: Many[Signed], held: Held, now: UnixSeconds
) -> list[Intent | NotWritten]:
    """
    Store bytes; answers each intent with all its variants and their bytes, in the order of the rows.

    Sealing the same bytes again is harmless; other bytes for a sealed variant are refused (`other_bytes`): an alarm.
    """
    work = Work(connection, rules, now)
    allowed = ours(connection, held)
    known = standing(connection, {row.intent_id for row in signed})
    refused: dict[int, NotWritten] = {}
    fresh: list[Signed] = []
    for place, row in enumerate(signed):
        intent = known.get(row.intent_id)
        variant = None if intent is None else intent.variants.get(row.variant)
        reason = _refusal(connection, row, intent, variant, allowed)
        if reason is not None:
            refused[place] = NotWritten(row=place, reason=reason, detail=f"intent {row.intent_id}")
        elif variant is not None and variant.tx_hash is None:
            variant.tx_hash = row.tx_hash
            fresh.append(row)
    _write(work, fresh, known, held)
    work.finish("seal")
    rows = connection.execute(SHARED["intents_by_id"], (ids_json({row.intent_id for row in signed}),))
    sealed = {intent.id: intent for intent in intents(rows.fetchall())}
    return [refused.get(place) or sealed[row.intent_id] for place, row in enumerate(signed)]


def _refusal(
    connection: Connection,
    row: Signed,
    intent: Standing | None,
    variant: Bytes | None,
    allowed: frozenset[AccountId],
) -> str | None:
    if intent is None or variant is None:
        return "missing"
    if intent.account not in allowed:
        return "fenced"
    if variant.tx_hash is not None:
        before = connection.execute(SQL["sealed_bytes"], (row.intent_id, row.variant)).fetchone()
        return None if before is None or before[0] in (None, row.tx_bytes) else "other_bytes"
    return None if intent.may(Fact.SEALED) else "changed"


def _write(work: Work, fresh: list[Signed], known: dict[IntentId, Standing], held: Held) -> None:
    work.many(SQL["seal_variant"], [(row.tx_bytes, row.tx_hash, row.intent_id, row.variant) for row in fresh])
    marks: dict[AccountId, Marks] = {}
    rows = []
    for intent in {row.intent_id: known[row.intent_id] for row in fresh}.values():
        state = intent.advance(Fact.SEALED)
        rows.append((state, "sign" if intent.unsealed else "send", intent.id))
        mark = marks.get(intent.account, Marks())
        marks[intent.account] = Marks(
            nonce=Nonce(max(mark.nonce, intent.nonce)),
            disbursement_id=DisbursementId(max(mark.disbursement_id, intent.item or 0)),
            term=Term(held.leases[intent.account].term),
        )
    work.many(SQL["seal_intent"], rows)
    work.many(
        SQL["sealed"],
        [(mark.nonce, mark.disbursement_id, mark.term, account) for account, mark in marks.items()],
    )
    for row in fresh:
        # the bytes stand in the journal too: with its outside copy a lost signer can be taught again (R11)
        encoded = b2a_base64(row.tx_bytes, newline=False).decode()
        work.note(known[row.intent_id].account, "sealed", (row.intent_id, row.variant, encoded))


def sealed_marks(connection: Connection, accounts: Many[AccountId]) -> dict[AccountId, Marks]:
    """The highest nonce, disbursement and term whose bytes were sealed, for each account that exists."""
    rows = connection.execute(SQL["sealed_marks"], (ids_json(accounts),))
    return {row[0]: Marks(nonce=row[1], disbursement_id=row[2], term=row[3]) for row in rows.fetchall()}
