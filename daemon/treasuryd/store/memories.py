"""Everything that the store ever sealed, as a signer takes it in that lost its memory (protocol.md R11)."""

from collections.abc import Sequence
from typing import Any

from treasuryd.core.model import (
    AccountId,
    Address,
    BaseUnits,
    Binding,
    Digest,
    IntentId,
    Nonce,
    SignRequest,
    Term,
    TxHash,
    VariantKind,
)
from treasuryd.core.restore import SealedPage
from treasuryd.sqlite.connect import Connection
from treasuryd.store.quarantine import SQL


def sealed(connection: Connection, account: AccountId, after: IntentId, limit: int) -> SealedPage:
    """Everything that was ever sealed for an account, by intent id, at most `limit` intents of it."""
    page = (account, after, limit)
    last = connection.execute(SQL["last_of_page"], page).fetchone()[0]
    rows = connection.execute(SQL["sealed_bindings"], page).fetchall()
    return SealedPage(bindings=tuple(_binding(account, row) for row in rows), last=last)


def released_void(connection: Connection, account: AccountId) -> list[IntentId]:
    """Void intents that a person released: a signer has to know it before their disbursements are bound anew."""
    return [row[0] for row in connection.execute(SQL["released_void"], (account,)).fetchall()]


def _binding(account: AccountId, row: Sequence[Any]) -> Binding:
    return Binding(
        request=SignRequest(
            intent_id=IntentId(row[0]),
            variant=row[6],
            kind=VariantKind(row[7]),
            account=account,
            nonce=Nonce(row[1]),
            disbursement_id=row[2],
            destination=Address(row[3]),
            amount=BaseUnits(row[4]),
            memo=row[11],
            fee=BaseUnits(row[8]),
            payload_digest=Digest(row[12]),
            idempotency_key=row[13],
            term=Term(row[5]),
        ),
        tx_bytes=row[10],
        tx_hash=TxHash(row[9]),
    )
