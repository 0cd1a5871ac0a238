"""A reorg deeper than finality, and the way back: payments reopened, open nonces filled, the account thawed (R9)."""

from typing import Any

import pytest
from tests.histories.conftest import Begin
from tests.histories.restoring import judge_by_the_chain
from tests.world import CHAIN_ID, PAYER, SINK, History, new

from treasuryd.commands import control, disbursements
from treasuryd.commands.fields import Person
from treasuryd.commands.office import Office
from treasuryd.core.model import (
    AccountState,
    DisbursementId,
    Evidence,
    Nonce,
    Proof,
    State,
    Status,
)
from treasuryd.devnet.faults import Wrong
from treasuryd.devnet.ledger import Then
from treasuryd.errors import Rejected

ADA = Person(who="ada", reason="the chain lost it")


def office(history: History) -> Office:
    return Office(
        world=history.world,
        engine=history.mind,
        rules=history.rules,
        accounts=history.accounts,
        chain_id=CHAIN_ID,
        price=history.trade().price,
    )


async def paid_cancelled_paid(history: History) -> tuple[DisbursementId, DisbursementId, DisbursementId]:
    """Three nonces, all final: a payment, a cancellation, a payment; answers their items."""
    (first,) = await history.submit(new("first", to="tb1first"))
    await history.finalized([first])
    history.node.faults.add(Wrong.REFUSE, verdict="MempoolFull", times=None)
    (gone,) = await history.submit(new("gone", to="tb1gone"))
    await history.run(2)
    await history.cancel(gone)
    history.node.faults.clear()
    (last,) = await history.submit(new("last", to="tb1last"))

    async def over() -> bool:
        return await history.status(gone) is Status.ROLLED_BACK

    await history.until(over)
    await history.finalized([last])
    assert [nonce for nonce, _, _ in history.mined()] == [1, 2, 3]
    return first, gone, last


async def lose(history: History, then: Then = Then.NEVER) -> None:
    """Replace every block since the first payment; the daemon sees it."""
    history.clock.now += 1.0
    ledger = history.node.ledger
    ledger.reorg(ledger.height - 3, now=history.clock.now, then=then)
    await history.tick()
    await history.run(6)
    account = await history.account()
    assert (account.state, account.cause) == (AccountState.FROZEN, "deep_reorg")


async def refusal(history: History) -> Rejected:
    with pytest.raises(Rejected) as found:
        await control.thaw(office(history), PAYER, ADA)
    return found.value


async def balanced(history: History) -> None:
    booked, shown = await history.books()
    assert booked == shown == history.balance(PAYER)


async def intents(history: History) -> list[tuple[Any, ...]]:
    return await history.sql.read(
        lambda connection: connection.execute(
            "SELECT nonce, disbursement_id IS NULL, state, proof FROM intent ORDER BY nonce, id"
        ).fetchall()
    )


async def test_what_a_deep_reorg_took_is_sent_again_and_the_open_nonce_filled(
    begin: Begin, evidence: Evidence
) -> None:
    """R9: the payments by their same bytes, the nonce that pays nobody by a filler; only then is the account thawed."""
    history = await begin(evidence)
    first, gone, last = await paid_cancelled_paid(history)
    hashes = [(await history.item(item)).tx_hash for item in (first, last)]
    await lose(history)

    account = await history.account()
    assert (account.lost_payments, account.lost_nonces) == ((first, last), (2,))
    refused = await refusal(history)
    assert "lost 2 final payments (disbursements 1 3) and 1 nonce pays nobody any more (2)" in refused.message
    for item in (first, last):
        await history.desk.reopen(item, by=office(history).approval(who="ada", reason="lost"))
        assert await history.status(item) is Status.TIMELOCKED
    assert "treasuryd account fill treasury --nonce 2" in (await refusal(history)).hint
    await history.run(3)
    assert history.mined() == []  # frozen: nothing goes out

    await control.fill(office(history), PAYER, [Nonce(2)], ADA)
    await control.fill(office(history), PAYER, [Nonce(2)], ADA)  # repeating it is harmless
    await control.thaw(office(history), PAYER, ADA)
    await history.finalized([first, last])

    assert [nonce for nonce, _, _ in history.mined()] == [1, 2, 3]
    assert history.mined()[1] == (2, SINK, 1)
    assert [history.paid(memo) for memo in ("first", "gone", "last")] == [1, 0, 1]
    assert [(await history.item(item)).tx_hash for item in (first, last)] == hashes
    assert await history.status(gone) is Status.ROLLED_BACK
    await history.run(5)
    assert (await intents(history))[1:3] == [
        (2, 0, State.VOID, Proof.FILLED),
        (2, 1, State.VOID, Proof.CANCELLED),
    ]
    assert (await history.account()).state is AccountState.ACTIVE
    await balanced(history)


async def test_a_filler_that_meets_the_old_cancellation_is_the_same_transaction(
    begin: Begin, evidence: Evidence
) -> None:
    """R9: it is filled at the old fee, so that it does not matter which copy the chain takes."""
    history = await begin(evidence)
    first, gone, last = await paid_cancelled_paid(history)
    old = {variant.tx_hash for variant in (await history.intent(gone)).variants}
    await lose(history)
    for item in (first, last):
        await history.desk.reopen(item, by=office(history).approval(who="ada", reason="lost"))
    await control.fill(office(history), PAYER, [Nonce(2)], ADA)
    await control.thaw(office(history), PAYER, ADA)
    await history.finalized([first, last])

    filler = await history.sql.read(
        lambda connection: connection.execute(
            "SELECT v.tx_hash FROM variant v JOIN intent i ON i.id = v.intent_id WHERE i.disbursement_id IS NULL"
        ).fetchone()
    )
    assert filler[0] in old
    await balanced(history)


async def test_a_deep_reorg_that_brings_everything_back_needs_no_order(
    begin: Begin, evidence: Evidence
) -> None:
    """R9: the pools mined it again: nothing is lost, and a person only thaws."""
    history = await begin(evidence)
    first, _, last = await paid_cancelled_paid(history)
    await lose(history, Then.AGAIN)

    account = await history.account()
    assert (account.lost_payments, account.lost_nonces) == ((), ())
    await control.thaw(office(history), PAYER, ADA)
    (new_one,) = await history.submit(new("after", to="tb1after"))
    await history.finalized([first, last, new_one])

    assert [nonce for nonce, _, _ in history.mined()] == [1, 2, 3, 4]
    assert (await history.account()).state is AccountState.ACTIVE
    await balanced(history)


async def test_a_crash_in_the_middle_of_filling_fills_once(begin: Begin, evidence: Evidence) -> None:
    """§10: staged, signed or sent: the next process goes on with the same filler."""
    for at in ("signer.sign", "store.seal", "chain.broadcast", "store.record"):
        history = await begin(evidence)
        first, _, last = await paid_cancelled_paid(history)
        await lose(history)
        for item in (first, last):
            await history.desk.reopen(item, by=office(history).approval(who="ada", reason="lost"))
        await control.fill(office(history), PAYER, [Nonce(2)], ADA)
        await control.thaw(office(history), PAYER, ADA)
        history.fuse.at = at
        with pytest.raises(Exception, match=at):
            await history.run(3)
        history.fuse.at = None
        await history.crash()
        await history.finalized([first, last])
        assert [nonce for nonce, _, _ in history.mined()] == [1, 2, 3]
        await balanced(history)


async def test_a_filler_whose_old_payment_wins_freezes_the_account(begin: Begin, evidence: Evidence) -> None:
    """Residual: the old payment's bytes were in somebody's pool. It is paid once, and the account stops for a person."""
    history = await begin(evidence)
    first, gone, last = await paid_cancelled_paid(history)
    before = await history.intent(gone)
    await lose(history)
    payment = await history.sql.read(
        lambda connection: connection.execute(
            "SELECT tx_bytes FROM variant WHERE intent_id = ? AND kind = 'payment'", (before.id,)
        ).fetchone()
    )
    for item in (first, last):
        await history.desk.reopen(item, by=office(history).approval(who="ada", reason="lost"))
    await control.fill(office(history), PAYER, [Nonce(2)], ADA)
    await control.thaw(office(history), PAYER, ADA)
    history.fuse.at = "chain.broadcast"
    with pytest.raises(Exception, match="broadcast"):
        await history.run(1)
    history.fuse.at = None
    for row in (await bytes_of(history, first), payment[0]):
        params = {"nonce": history.entropy.bits63(), "tx": row.hex()}
        request = {"jsonrpc": "2.0", "id": 1, "method": "submit_tx", "params": params}
        history.transport.answer(history.urls[0], request)
    history.mine(1)
    await history.crash()
    await history.run(12)

    account = await history.account()
    assert (account.state, account.cause) == (AccountState.FROZEN, "foreign_nonce")
    assert history.paid("gone") == 1
    assert history.paid("last") <= 1


async def bytes_of(history: History, item: DisbursementId) -> bytes:
    intent = await history.intent(item)
    (found,) = await history.sql.read(
        lambda connection: connection.execute(
            "SELECT tx_bytes FROM variant WHERE intent_id = ? AND number = 1", (intent.id,)
        ).fetchone()
    )
    return bytes(found)


async def test_only_a_nonce_that_nothing_holds_is_filled(begin: Begin, evidence: Evidence) -> None:
    """R9: not one of a live payment, not one the chain has, not one that was never given; and nobody signs it then."""
    history = await begin(evidence)
    await paid_cancelled_paid(history)
    history.node.faults.add(Wrong.REFUSE, verdict="MempoolFull", times=None)
    (waits,) = await history.submit(new("waits", to="tb1waits"))
    await history.run(2)
    said = {
        4: f"bound to disbursement {waits}",
        2: "the chain has consumed it",
        5: "it was never given",
    }
    for nonce, reason in said.items():
        with pytest.raises(Rejected, match=reason):
            await control.fill(office(history), PAYER, [Nonce(nonce)], ADA)
    history.node.faults.clear()
    await history.finalized([waits])
    await balanced(history)


async def test_a_lost_payment_whose_books_were_rolled_back_is_filled(
    begin: Begin, evidence: Evidence
) -> None:
    """R9: nobody wants it any more: its nonce is filled, the cost comes back, and the item stays rolled back."""
    history = await begin(evidence)
    (item,) = await history.submit(new("first", to="tb1first"))

    async def final() -> bool:
        return State.FINAL in {intent.state for intent in await history.desk.intents(item)}

    await history.until(final)
    await history.desk.rollback(item, by=office(history).approval(who="ada", reason="twice invoiced"))
    await history.run(6)
    await lose(history)

    account = await history.account()
    assert (account.lost_payments, account.lost_nonces) == ((), (1,))
    await control.fill(office(history), PAYER, [Nonce(1)], ADA)
    await control.thaw(office(history), PAYER, ADA)
    (after,) = await history.submit(new("after", to="tb1after"))
    await history.finalized([after])

    assert [row[:2] for row in history.mined()] == [(1, SINK), (2, "tb1after")]
    assert await history.status(item) is Status.ROLLED_BACK
    assert (await history.intent(item)).state is State.VOID
    await balanced(history)


async def test_a_deep_reorg_while_a_person_has_frozen_can_be_repaired(
    begin: Begin, evidence: Evidence
) -> None:
    """R9, R14: it becomes the cause, else nothing could be reopened, and nothing thawed before it is."""
    history = await begin(evidence)
    first, _, last = await paid_cancelled_paid(history)
    await control.freeze(office(history), PAYER, ADA)
    await lose(history)

    for item in (first, last):
        await history.desk.reopen(item, by=office(history).approval(who="ada", reason="lost"))
    await control.fill(office(history), PAYER, [Nonce(2)], ADA)
    await control.thaw(office(history), PAYER, ADA)
    await history.finalized([first, last])

    assert [nonce for nonce, _, _ in history.mined()] == [1, 2, 3]
    await balanced(history)


async def test_a_payment_that_the_chain_still_shows_may_be_reopened_too(
    begin: Begin, evidence: Evidence
) -> None:
    """R9: of two that a person reopens the chain had lost one; both are paid once, and the books agree with the chain."""
    history = await begin(evidence)
    await history.run(3)
    (kept,) = await history.submit(new("kept", to="tb1kept"))
    await history.finalized([kept])
    await history.run(10)
    (lost,) = await history.submit(new("lost"))
    await history.finalized([lost])
    ledger, height = history.node.ledger, (await history.intent(lost)).height
    assert height is not None
    history.clock.now += 1.0
    ledger.reorg(ledger.height - height + 1, now=history.clock.now, then=Then.NEVER)
    await history.tick()
    await history.run(6)
    assert (history.paid("kept"), history.paid("lost")) == (1, 0)
    for item in (kept, lost):
        await disbursements.reopen(office(history), item, ADA)
    await control.thaw(office(history), PAYER, ADA)
    await history.run(60)
    await judge_by_the_chain(history)
    await history.run(10)
    assert history.paid("kept") == history.paid("lost") == 1
    booked, shown = await history.books()
    assert booked == shown == history.balance(PAYER)


async def test_a_filler_of_a_strangers_nonce_is_no_sign_of_an_old_store(
    begin: Begin, evidence: Evidence
) -> None:
    """R9, §8: the thaw went on above a nonce that we never gave; after a deep reorg we fill it, and the signer knows it."""
    history = await begin(evidence)
    await history.run(3)
    (item,) = await history.submit(new("first", to="tb1first"))
    await history.finalized([item])
    history.node.ledger.foreign_spend(PAYER, to="tb1thief", amount=0, fee=1_000)
    await history.run(12)
    await control.thaw(office(history), PAYER, ADA)
    await history.run(3)
    ledger, height = history.node.ledger, (await history.intent(item)).height
    assert height is not None
    history.clock.now += 1.0
    ledger.reorg(ledger.height - height, now=history.clock.now, then=Then.NEVER)
    await history.tick()
    await history.run(6)
    account = (await history.desk.accounts())[0]
    assert (account.state, account.lost_nonces) == (AccountState.FROZEN, (2,))
    await control.fill(office(history), PAYER, [Nonce(2)], ADA)
    await control.thaw(office(history), PAYER, ADA)
    (after,) = await history.submit(new("after", to="tb1after"))
    await history.finalized([after])
    await history.crash()
    await history.run(3)
    assert (await history.account()).state is AccountState.ACTIVE
    assert history.paid("after") == 1
