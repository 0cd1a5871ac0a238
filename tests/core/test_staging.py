"""Digests over canonical JSON, and the draft that carries content, digest and key on."""

import json
from dataclasses import replace

from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from treasuryd.core.model import (
    AccountId,
    Address,
    Attachment,
    BaseUnits,
    Digest,
    Disbursement,
    DisbursementId,
    Epoch,
    ExpectedReceipt,
    Ppm,
    Proposal,
)
from treasuryd.core.staging import (
    canonical_json,
    digest_of,
    draft,
    item_digest,
    item_key,
    payload_digest,
    request_digest,
)

MEMO = 'r\u00e9gl\u00e9 \u2028 \x7f \\ " ' * 400
ITEM = Disbursement(
    id=DisbursementId(7),
    account=AccountId("treasury"),
    destination=Address("tb1payee"),
    amount=BaseUnits(2**63 - 1),
    memo=MEMO,
    scheduled_epoch=Epoch(3),
    depends_on=(DisbursementId(5), DisbursementId(2)),
    expected_receipts=(ExpectedReceipt(account="tb1payee", amount=BaseUnits(2**63 - 1)),),
    proposal=Proposal(
        title="Rent",
        summary="Two months",
        deps=(DisbursementId(2), DisbursementId(5)),
        attachments=(Attachment(name="bill", uri="ipfs://bill"),),
        operators_ppm=Ppm(600_000),
        builders_ppm=Ppm(1),
    ),
    idempotency_key="rent#0",
    payload_digest=Digest("ab" * 32),
)


def test_the_payload_digest_is_that_of_the_documented_text() -> None:
    """The text is written out here by another JSON writer, from interfaces.md §1 alone."""
    text = json.dumps(
        {
            "v": 1,
            "account": "treasury",
            "amount": 2**63 - 1,
            "depends_on": [2, 5],
            "destination": "tb1payee",
            "expected_receipts": [{"account": "tb1payee", "amount": 2**63 - 1}],
            "memo": MEMO,
            "proposal": {
                "attachments": [{"name": "bill", "uri": "ipfs://bill"}],
                "deps": [2, 5],
                "quorum": {"builders_ppm": 1, "operators_ppm": 600_000},
                "rollback_window_epochs": 1,
                "summary": "Two months",
                "timelock_epochs": 2,
                "title": "Rent",
                "vote_window_epochs": 4,
            },
            "scheduled_epoch": 3,
        },
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
    )
    assert blake3(text.encode()).hexdigest() == payload_digest(ITEM)


def test_resolved_refs_replace_the_dependencies_of_the_item() -> None:
    """A batch with refs gets the digest that it would have had with ids."""
    assert payload_digest(ITEM) == payload_digest(ITEM, [DisbursementId(5), DisbursementId(2)])
    assert payload_digest(ITEM) != payload_digest(ITEM, [DisbursementId(2)])


TREE = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(TREE)
def test_canonical_json_is_what_the_standard_library_writes(tree: object) -> None:
    """Two writers agree on the canonical form, so that anybody can recompute a digest."""
    expected = json.dumps(tree, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert expected == canonical_json(tree)


def test_a_draft_carries_content_digest_and_key() -> None:
    """D25: the memo that will be signed is the approved one, to the last byte."""
    made = draft(ITEM, fee=BaseUnits(700))
    assert made.memo == ITEM.memo
    assert len(made.memo.encode()) > 1_024
    assert (made.disbursement_id, made.account, made.destination, made.amount) == (
        ITEM.id,
        ITEM.account,
        ITEM.destination,
        ITEM.amount,
    )
    assert (made.payload_digest, made.idempotency_key, made.fee) == (ITEM.payload_digest, "rent#0", 700)


def test_what_nobody_voted_on_is_digested_without_a_proposal() -> None:
    """One that is left out and one that is empty are two contents."""
    plain = replace(ITEM, proposal=None)
    empty = replace(ITEM, proposal=Proposal(title="", summary=""))
    assert len({payload_digest(one) for one in (plain, empty, ITEM)}) == 3


def test_the_order_of_a_request_is_part_of_its_digest() -> None:
    """Rows get ids in input order, so another order is another request; the digests stand one to a line."""
    first, second = item_digest({"a": 1}), item_digest({"a": 2})
    assert first == digest_of({"a": 1})
    assert request_digest([first, second]) == blake3(f"{first}\n{second}".encode()).hexdigest()
    assert request_digest([first, second]) != request_digest([second, first])
    assert request_digest([first]) != request_digest([first, first])


def test_each_row_has_a_key_of_its_own() -> None:
    """Batch key and row make the item's key."""
    assert (item_key("may", 0), item_key("may", 1)) == ("may#0", "may#1")
