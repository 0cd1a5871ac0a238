"""From a disbursement to the draft of its payment; the digests and keys that bind every later step to its content."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import orjson
from blake3 import blake3

from treasuryd.core.model import (
    BaseUnits,
    Digest,
    Disbursement,
    DisbursementId,
    Draft,
    ExpectedReceipt,
    NewDisbursement,
    Proposal,
)

PAYLOAD_VERSION: Final = 1


def draft(item: Disbursement, *, fee: BaseUnits) -> Draft:
    """
    Make the draft of a disbursement's payment: its content, digest and key carried over, priced at `fee` (base units).

    Guarantees: the memo goes on as it was approved, to the last byte (protocol.md R11).
    """
    return Draft(
        disbursement_id=item.id,
        account=item.account,
        destination=item.destination,
        amount=item.amount,
        memo=item.memo,
        fee=fee,
        payload_digest=item.payload_digest,
        idempotency_key=item.idempotency_key,
    )


def canonical_json(value: object) -> bytes:
    """Write a JSON value in its one canonical form: UTF-8, keys sorted, no spaces."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def digest_of(value: object) -> Digest:
    """BLAKE3-256 over the canonical form, 64 lower-case hex digits."""
    return Digest(blake3(canonical_json(value)).hexdigest())


def payload_digest(
    item: NewDisbursement | Disbursement, depends_on: Collection[DisbursementId] | None = None
) -> Digest:
    """
    Digest of everything that is approved and paid: content, account, dependencies, proposal.

    Args: depends_on replaces the item's own, where refs have become ids meanwhile.
    Source: interfaces.md §1.
    """
    return digest_of(
        {
            "v": PAYLOAD_VERSION,
            "account": item.account,
            "amount": item.amount,
            "depends_on": sorted(item.depends_on if depends_on is None else depends_on),
            "destination": item.destination,
            "expected_receipts": receipts_json(item.expected_receipts),
            "memo": item.memo,
            "proposal": None if item.proposal is None else proposal_json(item.proposal),
            "scheduled_epoch": item.scheduled_epoch,
        }
    )


def proposal_json(proposal: Proposal) -> dict[str, Any]:
    """Write a proposal in the shape in which people send it; the digest covers this shape."""
    return {
        "title": proposal.title,
        "summary": proposal.summary,
        "deps": list(proposal.deps),
        "attachments": [{"name": document.name, "uri": document.uri} for document in proposal.attachments],
        "quorum": {"operators_ppm": proposal.operators_ppm, "builders_ppm": proposal.builders_ppm},
        "vote_window_epochs": proposal.vote_window_epochs,
        "timelock_epochs": proposal.timelock_epochs,
        "rollback_window_epochs": proposal.rollback_window_epochs,
    }


def receipts_json(receipts: Sequence[ExpectedReceipt]) -> list[dict[str, Any]]:
    """Write expected receipts in the shape in which people send them."""
    return [{"account": receipt.account, "amount": receipt.amount} for receipt in receipts]


def item_digest(received: Mapping[str, object]) -> Digest:
    """Digest of one item as it was received, before anything is chosen for it."""
    return digest_of(received)


def request_digest(items: Sequence[Digest]) -> Digest:
    """Digest of a whole request: of the digests of its items, in order."""
    return Digest(blake3("\n".join(items).encode()).hexdigest())


def item_key(key: str, row: int) -> str:
    """Idempotency key of one row of a request (interfaces.md §1)."""
    return f"{key}#{row}"
