"""What the settlement audit reads of the store to hold it against the chain."""

from dataclasses import replace
from typing import Any

import pytest
from tests.store.kit import OTHER, PAYER, RULES, Bench

from treasuryd.core.audit import Rivals
from treasuryd.core.audit_books import Ledger, Movement, Uncosted
from treasuryd.core.changes import Adopted, Unproven
from treasuryd.core.findings import Finding
from treasuryd.core.model import Address, DisbursementId, Height, IntentId, Nonce, UnixSeconds
from treasuryd.store import auditing, pins
from treasuryd.store.auditing import Cursor
from treasuryd.store.restore_report import put_report


async def test_a_page_says_what_the_books_hold(payer: Bench) -> None:
    """What an account shows, booked and still has above its baseline; each movement with the balance before it."""
    await payer.sql("UPDATE counter SET next = 41 WHERE name = 'intent'")
    first, second, third = await payer.pay(await payer.insert(3))
    await payer.include([first, second])
    await payer.sql("INSERT INTO vote VALUES (2, 'builders', 'k', 1, 'reject', 's', 1.0, 1)")
    everything = payer.balance
    left = Ledger(account=PAYER, booked=everything - 2_200, shown=everything, placed=2_200, open=False)

    page, after = await payer.driver.read(auditing.page, Cursor(), 2)
    assert page.ledgers == [left]
    assert [case.item.id for case in page.cases] == [1, 2]
    assert [[intent.id for intent in case.intents] for case in page.cases] == [[41], [42]]
    assert [[vote.key for vote in case.votes] for case in page.cases] == [[], ["k"]]
    assert (page.uncosted, page.rivals, page.broken, page.restored) == ([], [], [], False)
    assert (after.item, after.movement, after.balances, after.passes) == (
        2,
        2,
        {PAYER: everything - 1_100},
        0,
    )

    await payer.sql("UPDATE intent SET cost = cost + 1 WHERE id = 42")
    await payer.written(
        Unproven(account=PAYER, intent_id=third.id, first=payer.frame(), second=payer.frame(height=1_051))
    )
    page, after = await payer.driver.read(auditing.page, after, 2)
    assert page.movements == [
        Movement(
            id=3,
            account=PAYER,
            kind="execution",
            delta=-1_100,
            fee=100,
            balance=everything - 2_200,
            before=everything - 1_100,
            item=DisbursementId(2),
            of_item=DisbursementId(2),
            of_amount=1_000,
        )
    ]
    assert [ledger.open for ledger in page.ledgers] == [True]
    assert page.uncosted == [
        Uncosted(intent=IntentId(42), account=PAYER, item=DisbursementId(2), moved=-1_100, cost=1_101)
    ]
    assert [case.item.id for case in page.cases] == [3]
    assert (after.item, after.movement, after.balances, after.passes) == (0, 0, {}, 1)

    await payer.sql("UPDATE balance_event SET disbursement_id = 1 WHERE id = 3")
    page, after = await payer.driver.read(auditing.page, Cursor(), 3)
    assert (page.movements[-1].item, page.movements[-1].of_item) == (1, 2), "of another item than its intent"
    assert (after.item, after.movement) == (3, 3)


async def test_a_store_that_was_taken_up_from_a_backup_says_so(payer: Bench) -> None:
    """What it lost of votes proves nothing, however long ago its quarantine ended."""
    await payer.driver.write(put_report, {"found": [], "left_at": 5.0})
    page, _ = await payer.driver.read(auditing.page, Cursor(), 2)
    assert page.restored


async def test_a_page_names_the_sinks_that_the_store_keeps(payer: Bench) -> None:
    """Of every account, led here or not: its cancellations pay the one of then."""
    sinks = {OTHER: Address("tb1sink"), PAYER: Address("treasury-sink")}
    await payer.driver.write(pins.pin, replace(RULES, sinks=sinks), UnixSeconds(5.0))
    page, _ = await payer.driver.read(auditing.page, Cursor(), 2)
    assert page.sinks == sinks


async def test_what_only_a_look_at_everything_shows_is_named(payer: Bench) -> None:
    """§10: a nonce with two live intents, which the index forbids; an intent whose movements do not come to its cost."""
    await payer.sql("UPDATE counter SET next = 41 WHERE name = 'intent'")
    paid = await payer.pay(await payer.insert(2))
    await payer.include(paid)
    assert await payer.driver.read(auditing.whole) == []
    await payer.sql("DROP INDEX intent_one_per_nonce")
    await payer.sql("DROP INDEX intent_one_per_disbursement")
    await payer.sql("UPDATE intent SET nonce = 2, cost = cost + (id = 42)")
    twice, uncosted = await payer.driver.read(auditing.whole)
    assert (twice.finding, twice.account) == (Finding.NONCE_TWICE, PAYER)
    assert twice.detail == "2 live intents have nonce 2"
    assert (uncosted.finding, uncosted.account, uncosted.item) == (Finding.BOOKS, PAYER, 2)
    await payer.sql("UPDATE intent SET disbursement_id = 3 - disbursement_id")
    page, _ = await payer.driver.read(auditing.page, Cursor(), 9)
    assert page.rivals == [
        Rivals(
            account=PAYER,
            nonce=Nonce(2),
            item=DisbursementId(3 - one),
            intents=(IntentId(40 + one), IntentId(43 - one)),
        )
        for one in (1, 2)
    ]


async def test_the_journal_is_read_in_bounded_pieces_and_followed_over_them(
    payer: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whose chain broke is frozen; what belongs to no account concerns everybody."""
    sizes = await payer.sql("SELECT length(CAST(body AS BLOB)) FROM journal WHERE id < 3 ORDER BY id")
    ((one,), (other,)) = sizes
    after = Cursor()
    for bound in (one + other, one + 1):  # two entries fill such a piece; one leaves a byte of it
        monkeypatch.setattr(auditing, "JOURNAL_BYTES", bound)
        first, after = await payer.driver.read(auditing.page, Cursor(), 9)
        assert (first.broken, after.entry) == ([], 2)
    await payer.sql("UPDATE journal SET at = at + 1 WHERE chain = ?", f"account:{PAYER}")
    broken = list[Any]()
    while after.entry:
        page, after = await payer.driver.read(auditing.page, after, 9)
        broken += page.broken
    assert broken == [(PAYER, f"account:{PAYER}: entry 2 does not follow from entry 1")]
    assert after.links.heads == {}, "the next pass begins anew"
    await payer.sql("UPDATE journal SET at = at + 1 WHERE chain = 'store'")
    page, _ = await payer.driver.read(auditing.page, after, 9)
    assert page.broken[0] == (None, "store: entry 1 does not follow from entry 0")


async def test_what_moved_is_summed_up_by_kind(payer: Bench) -> None:
    """For a person: how many movements, what they come to, and the fees among it."""
    await payer.include(await payer.pay(await payer.insert(2)))
    assert await payer.driver.read(auditing.totals) == [
        (PAYER, "execution", 2, -2_200, 200),
        (PAYER, "funding", 1, payer.balance, 0),
    ]
    await payer.sql("UPDATE balance_event SET fee = ? WHERE kind = 'execution'", 2**62 - 1)
    assert (await payer.driver.read(auditing.totals))[0] == (PAYER, "execution", 2, -2_200, 2**63 - 2)


async def test_the_books_of_an_account_that_was_not_on_the_chain_begin_with_its_first_nonce(
    payer: Bench,
) -> None:
    """N15: what it pays from nonce 1 on is held against the chain; without a frame there is nothing to hold it against."""
    await payer.claim(OTHER)
    absent = replace(payer.frame(), holdings={Address(OTHER): None})
    await payer.written(Adopted(account=OTHER, next_nonce=Nonce(1), baseline=absent))
    [item] = await payer.insert(account=OTHER)
    await payer.sql(
        "INSERT INTO intent (id, account, nonce, disbursement_id, destination, amount, fee, term, state, live, step,"
        " staged_at) VALUES (99, ?, 1, ?, 'tb1payee', 1000, 100, 1, 'staged', 1, 'sign', 1.0)",
        *(OTHER, item),
    )
    theirs, _ = await payer.driver.read(auditing.books, Height(10**9))
    assert (theirs.account, theirs.most) == (OTHER, {1: 1_100})
    await payer.sql("DELETE FROM frame WHERE account = ?", OTHER)
    assert [one.account for one in await payer.driver.read(auditing.books, Height(10**9))] == [PAYER]


async def test_the_books_of_adopted_accounts_name_what_is_final(payer: Bench) -> None:
    """An account that never read the chain has no books yet."""
    await payer.claim(OTHER)
    paid = await payer.pay(await payer.insert(2))
    await payer.include(paid)
    await payer.bury()
    await payer.stage(await payer.insert())
    [books] = await payer.driver.read(auditing.books, Height(10**9))
    assert books.account == PAYER
    assert books.final == paid[-1].nonce
    assert books.kept
    assert set(books.most) >= {intent.nonce for intent in paid}
    [nothing] = await payer.driver.read(auditing.books, Height(0))
    assert not nothing.final


async def test_what_the_chain_decided_is_read_newest_first_and_page_by_page(payer: Bench) -> None:
    """Each with what it cost; bytes are left out."""
    paid = await payer.pay(await payer.insert(3))
    await payer.include(paid)
    first = await payer.driver.read(auditing.decided, before=IntentId(10**9), limit=2)
    assert [one.intent.id for one in first] == [paid[2].id, paid[1].id]
    assert [one.cost for one in first] == [one.amount + one.variants[-1].fee for one in paid[:0:-1]]
    rest = await payer.driver.read(auditing.decided, before=first[-1].intent.id, limit=2)
    assert [one.intent.id for one in rest] == [paid[0].id]
