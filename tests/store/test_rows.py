"""A row is read column by column: here no two columns of one row hold the same."""

from typing import Any

import pytest
from tests.store.kit import CHAIN_ID, PAYER, Bench

from treasuryd.core.changes import BaselineMoved
from treasuryd.core.model import (
    Address,
    Attachment,
    BaseUnits,
    BlockHash,
    ChainState,
    Decision,
    Digest,
    Disbursement,
    DisbursementId,
    Epoch,
    Evidence,
    ExpectedReceipt,
    Frame,
    Height,
    Hold,
    HouseName,
    Intent,
    IntentId,
    Meaning,
    Nonce,
    Ppm,
    Proposal,
    State,
    Status,
    Term,
    TxHash,
    UnixSeconds,
    Variant,
    VariantKind,
    Vote,
)
from treasuryd.sqlite.connect import Connection
from treasuryd.store import rows
from treasuryd.store.rows import SHARED, Frames, accounts, chain_state, ids_json, intents, votes

INTENT = 41


async def test_a_disbursement_with_all_that_belongs_to_it(payer: Bench) -> None:
    """§3: what is checked, shown and judged is what was stored."""
    await payer.sql(f"UPDATE counter SET next = {INTENT} WHERE name = 'intent'")
    first, item = await payer.insert(2, memo="for rent", scheduled_epoch=3, request_digest="r4")
    await payer.stage([item])
    columns: dict[str, Any] = {
        "status": "rolled_back",
        "created_at": 5.0,
        "status_at": 6.0,
        "vote_deadline_epoch": 7,
        "weights": '{"operators": 8, "builders": 9, "nobody": 1}',
        "activation_epoch": 10,
        "ready_epoch": 11,
        "queued_at": 12.0,
        "cancel_requested": "stop",
        "hold": "refused",
        "hold_detail": "policy",
        "tx_hash": "a1",
        "fee_paid": 13,
        "executed_height": 14,
        "executed_epoch": 15,
        "executed_at": 16.0,
        "evidence": "balance",
        "finalized_at": 17.0,
        "rolled_back_at": 18.0,
        "reason": "reverted",
        "prior_tx": "a2",
    }
    names = ", ".join(f"{name} = ?" for name in columns)
    await payer.sql(f"UPDATE disbursement SET {names} WHERE id = ?", *columns.values(), item)
    await payer.sql("INSERT INTO dependency VALUES (?, ?)", item, first)
    await payer.sql("INSERT INTO expected_receipt VALUES (?, 0, 'tb1x', 19), (?, 1, 'tb1y', 20)", item, item)
    await payer.sql(
        "INSERT INTO proposal VALUES (?, 'title', 'summary', ?, ?, 21, 22, 23, 24, 25)",
        *(item, f"[{first}]", '[{"name": "plan", "uri": "https://a.example/b"}]'),
    )
    assert await payer.item(item) == Disbursement(
        id=item,
        account=PAYER,
        destination=Address("tb1payee"),
        amount=BaseUnits(1_000),
        memo="for rent",
        scheduled_epoch=Epoch(3),
        idempotency_key=f"key-{item}",
        request_digest=Digest("r4"),
        payload_digest=Digest(f"{item:064x}"),
        status=Status.ROLLED_BACK,
        created_at=UnixSeconds(5.0),
        status_at=UnixSeconds(6.0),
        vote_deadline_epoch=Epoch(7),
        weights={HouseName.OPERATORS: 8, HouseName.BUILDERS: 9},
        activation_epoch=Epoch(10),
        ready_epoch=Epoch(11),
        queued_at=UnixSeconds(12.0),
        live_intent=IntentId(INTENT),
        cancel_requested="stop",
        hold=Hold.REFUSED,
        hold_detail="policy",
        tx_hash=TxHash("a1"),
        fee_paid=BaseUnits(13),
        executed_height=Height(14),
        executed_epoch=Epoch(15),
        executed_at=UnixSeconds(16.0),
        evidence=Evidence.BALANCE,
        finalized_at=UnixSeconds(17.0),
        rolled_back_at=UnixSeconds(18.0),
        reason="reverted",
        prior_tx=TxHash("a2"),
        depends_on=(DisbursementId(first),),
        expected_receipts=(
            ExpectedReceipt(account=Address("tb1x"), amount=BaseUnits(19)),
            ExpectedReceipt(account=Address("tb1y"), amount=BaseUnits(20)),
        ),
        proposal=Proposal(
            title="title",
            summary="summary",
            deps=(DisbursementId(first),),
            attachments=(Attachment(name="plan", uri="https://a.example/b"),),
            operators_ppm=Ppm(21),
            builders_ppm=Ppm(22),
            vote_window_epochs=23,
            timelock_epochs=24,
            rollback_window_epochs=25,
        ),
    )


async def test_an_intent_with_its_variants(payer: Bench) -> None:
    """§3: each variant with its own hash, bytes and history."""
    await payer.sql(f"UPDATE counter SET next = {INTENT} WHERE name = 'intent'")
    await payer.claim(PAYER)  # under term 2
    _, item = await payer.insert(2, memo="for rent", amount=77)
    await payer.stage([item])
    await payer.sql("UPDATE disbursement SET cancel_requested = 'stop'")
    await payer.sql(
        "UPDATE intent SET nonce = 3, state = 'included', step = NULL, staged_at = 4.0, sent_at = 5.0, refusals = 6,"
        " winner = 7, height = 8, block_hash = 'b9', evidence = 'balance'"
    )
    await payer.sql(
        "UPDATE variant SET fee = 10, tx_hash = 'a1', sent_at = 12.0, attempts = 13, last_meaning = 'accepted',"
        " tx_bytes = x'0e'"
    )
    await payer.sql(
        "INSERT INTO variant (intent_id, number, kind, fee, staged_at, pooled) VALUES (41, 2, 'cancel', 15, 16, 1)"
    )
    found = await payer.sql(SHARED["intents_by_id"], ids_json([INTENT]))
    assert intents(found) == [
        Intent(
            id=IntentId(INTENT),
            account=PAYER,
            nonce=Nonce(3),
            disbursement_id=item,
            destination=Address("tb1payee"),
            amount=BaseUnits(77),
            term=Term(2),
            state=State.INCLUDED,
            staged_at=UnixSeconds(4.0),
            sent_at=UnixSeconds(5.0),
            refusals=6,
            winner=7,
            height=Height(8),
            block_hash=BlockHash("b9"),
            evidence=Evidence.BALANCE,
            memo="for rent",
            payload_digest=Digest(f"{item:064x}"),
            idempotency_key=f"key-{item}",
            cancel_requested=True,
            variants=(
                Variant(
                    number=1,
                    kind=VariantKind.PAYMENT,
                    fee=BaseUnits(10),
                    tx_hash=TxHash("a1"),
                    sent_at=UnixSeconds(12.0),
                    attempts=13,
                    last_meaning=Meaning.ACCEPTED,
                    tx_bytes=b"\x0e",
                ),
                Variant(number=2, kind=VariantKind.CANCEL, fee=BaseUnits(15), pooled=True),
            ),
        )
    ]


async def test_a_frame_is_parsed_once_and_not_kept_for_ever(
    payer: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tick reads every account's frames; a row of them never changes."""
    await payer.written(
        BaselineMoved(account=PAYER, frame=payer.frame(height=1_060), keep_from=Height(1_050))
    )

    def read(connection: Connection) -> list[Frame]:
        return list(frames.of(connection, [PAYER])[PAYER])

    frames = Frames()
    older, newest = await payer.driver.read(read)
    assert (older.height, newest.height) == (1_050, 1_060)
    again = await payer.driver.read(read)
    assert again[0] is older
    assert again[1] is newest
    monkeypatch.setattr(rows, "FRAMES_REMEMBERED", 1)
    await payer.driver.read(read)
    bounded = await payer.driver.read(read)
    assert bounded == [older, newest]
    assert bounded[0] is not older
    assert bounded[1] is newest


@pytest.mark.parametrize(
    ("deps", "attachments", "weights"),
    [
        pytest.param("{}", "{}", "[]", id="another shape"),
        pytest.param('["1", true]', '["plan"]', '{"operators": "8", "nobody": 9}', id="other things in it"),
        pytest.param("7", '[{"name": "plan"}]', '{"builders": true}', id="half of it"),
        pytest.param("null", '[{"name": "plan", "uri": 1}]', "8", id="of another kind"),
        pytest.param('"1"', '[{"name": 1, "uri": "https://a.example"}]', "null", id="a name that is none"),
    ],
)
async def test_stored_json_of_a_shape_that_nobody_writes_reads_as_empty(
    payer: Bench, deps: str, attachments: str, weights: str
) -> None:
    """D9: the digest of its content is another one then, and it is held alone."""
    [item] = await payer.insert()
    await payer.sql("UPDATE disbursement SET weights = ?", weights)
    await payer.sql("INSERT INTO proposal VALUES (?, 't', 's', ?, ?, 1, 2, 3, 4, 5)", item, deps, attachments)
    found = await payer.item(item)
    assert found.proposal is not None
    assert (found.proposal.deps, found.proposal.attachments, found.weights) == ((), (), {})


async def test_a_vote(payer: Bench) -> None:
    """§2: whoever recounts it has the very counter, decision and signature."""
    [item] = await payer.insert()
    await payer.sql("INSERT INTO vote VALUES (?, 'builders', 'k1', 2, 'reject', 's3', 4.0, 5)", item)
    assert await payer.driver.read(votes, [item]) == {
        item: (
            Vote(
                disbursement_id=item,
                house=HouseName.BUILDERS,
                key="k1",
                counter=2,
                decision=Decision.REJECT,
                signature="s3",
                taken_at=UnixSeconds(4.0),
                seen_epoch=Epoch(5),
            ),
        )
    }


async def test_an_account_and_the_chain(payer: Bench) -> None:
    """R14 to R16: why it stands still, where it goes on, and what is believed of the chain."""
    await payer.sql(
        "UPDATE account SET state = 'frozen', cause = 'person', detail = 'looked', next_nonce = 2, high_water = 3,"
        " thaw_above = 4"
    )
    [account] = await payer.driver.read(accounts, Frames(), [PAYER])
    assert (account.id, account.state, account.cause, account.detail) == (PAYER, "frozen", "person", "looked")
    assert (account.next_nonce, account.high_water, account.thaw_above) == (2, 3, 4)
    await payer.sql(
        "UPDATE chain SET genesis = 'g', believed = 12, risen_at = 13.0, settled_height = 11, settled = 10"
    )
    assert await payer.driver.read(chain_state) == ChainState(
        chain_id=CHAIN_ID,
        genesis=BlockHash("g"),
        believed=Height(12),
        risen_at=UnixSeconds(13.0),
        settled_height=Height(11),
        settled=Epoch(10),
    )
