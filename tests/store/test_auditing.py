"""What the settlement audit reads of the store to hold it against the chain."""

from tests.store.kit import OTHER, PAYER, Bench

from treasuryd.core.model import Height, IntentId
from treasuryd.store import auditing


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
