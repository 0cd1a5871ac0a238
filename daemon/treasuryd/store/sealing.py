"""Stores the exact bytes that the signer answered: from here on they may leave (protocol.md R1, R3)."""

from collections.abc import Sequence
from typing import Any

from treasuryd.core.lifecycle import INTENT, Fact
from treasuryd.core.model import (
    AccountId,
    DisbursementId,
    Held,
    Intent,
    IntentId,
    Marks,
    NotWritten,
    Rules,
    Signed,
    UnixSeconds,
)
from treasuryd.ports import Many
from treasuryd.sqlite.connect import Connection
from treasuryd.store.rows import SHARED, STATES, ids_json, intents
from treasuryd.store.standing import SQL
from treasuryd.store.work import Work, ours


def seal(
    connection: Connection, rules: Rules, signed: Many[Signed], held: Held, now: UnixSeconds
) -> list[Intent | NotWritten]:
    """
    Store bytes; answers each intent with all its variants and their bytes, in the order of the rows.

    Sealing the same bytes again is harmless; other bytes for a sealed variant are refused (`other_bytes`): an alarm.
    """
    work = Work(connection, rules, now)
    batch = _Batch(connection, held, signed)
    refused: dict[int, NotWritten] = {}
    for place, row in enumerate(signed):
        reason = batch.take(row)
        if reason is not None:
            refused[place] = NotWritten(row=place, reason=reason, detail=f"intent {row.intent_id}")
    batch.write(work)
    work.finish("seal")
    sealed = batch.intents()
    return [refused.get(place) or sealed[row.intent_id] for place, row in enumerate(signed)]


class _Batch:
    """
    The intents of one batch as raw rows, one per variant; sealed in place, so that nothing is read twice.

    The places of the columns are those of the fragment `intent` in `queries.sql`.
    """

    ID, ACCOUNT, NONCE, ITEM, STATE, NUMBER, HASH, BYTES = 0, 1, 2, 3, 7, 19, 22, 27

    def __init__(self, connection: Connection, held: Held, signed: Many[Signed]) -> None:
        self._held = held
        self._ours = ours(connection, held)
        ids = ids_json({row.intent_id for row in signed})
        self._rows: dict[IntentId, dict[int, list[Any]]] = {}
        for row in connection.execute(SHARED["intents_by_id"], (ids,)):
            self._rows.setdefault(row[self.ID], {})[row[self.NUMBER]] = list(row)
        self._fresh: list[Signed] = []

    def take(self, signed: Signed) -> str | None:
        """Put bytes to their variant; answers why not, where they do not belong there."""
        row = self._rows.get(signed.intent_id, {}).get(signed.variant)
        if row is None:
            return "missing"
        if row[self.ACCOUNT] not in self._ours:
            return "fenced"
        if row[self.BYTES] is not None:
            return None if row[self.BYTES] == signed.tx_bytes else "other_bytes"
        if Fact.SEALED not in INTENT[STATES[row[self.STATE]]]:
            return "changed"
        row[self.BYTES], row[self.HASH] = signed.tx_bytes, signed.tx_hash
        self._fresh.append(signed)
        return None

    def write(self, work: Work) -> None:
        """Write what was taken: bytes, where their intents stand now, what the signer has to remember, the journal."""
        work.many(
            SQL["seal_variant"],
            [(row.tx_bytes, row.tx_hash, row.intent_id, row.variant) for row in self._fresh],
        )
        intents_: list[tuple[Any, ...]] = []
        marks: dict[AccountId, Marks] = {}
        for id_ in dict.fromkeys(row.intent_id for row in self._fresh):
            variants = self._rows[id_].values()
            first = next(iter(variants))
            state = INTENT[STATES[first[self.STATE]]][Fact.SEALED]
            unsealed = any(row[self.BYTES] is None for row in variants)
            for row in variants:
                row[self.STATE] = state
            intents_.append((state, "sign" if unsealed else "send", id_))
            account = first[self.ACCOUNT]
            marks[account] = self._marked(marks.get(account), first)
        work.many(SQL["seal_intent"], intents_)
        work.many(
            SQL["sealed"],
            [(mark.nonce, mark.disbursement_id, mark.term, account) for account, mark in marks.items()],
        )
        for signed in self._fresh:
            account = self._rows[signed.intent_id][signed.variant][self.ACCOUNT]
            work.counted(account, "sealed")

    def _marked(self, before: Marks | None, row: Sequence[Any]) -> Marks:
        """The marks of an account with one more sealed intent; a batch is nearly always in nonce order."""
        nonce, item = row[self.NONCE], row[self.ITEM] or 0
        if before is not None and before.nonce >= nonce and before.disbursement_id >= item:
            return before
        known = before or Marks()
        return Marks(
            nonce=max(known.nonce, nonce),
            disbursement_id=DisbursementId(max(known.disbursement_id, item)),
            term=self._held.leases[row[self.ACCOUNT]].term,
        )

    def intents(self) -> dict[IntentId, Intent]:
        """The intents as they are stored now."""
        rows = (row for variants in self._rows.values() for row in variants.values())
        return {intent.id: intent for intent in intents(rows)}


def sealed_marks(connection: Connection, accounts: Many[AccountId]) -> dict[AccountId, Marks]:
    """The highest nonce, disbursement and term whose bytes were sealed, for each account that exists."""
    rows = connection.execute(SQL["sealed_marks"], (ids_json(accounts),))
    return {row[0]: Marks(nonce=row[1], disbursement_id=row[2], term=row[3]) for row in rows.fetchall()}
