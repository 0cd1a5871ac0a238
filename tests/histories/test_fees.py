"""Fees that rise while payments are out: bumps, pools that keep the old one, and a signer with a limit of its own (R6)."""

from dataclasses import replace

from tests.histories.conftest import Begin
from tests.world import PAYER, RULES, History, new

from treasuryd.core.model import AccountState, BaseUnits, Evidence, State, VariantKind
from treasuryd.signer.policy import Policy

QUICK = replace(RULES, resend_seconds=2.0, pool_ttl_seconds=5.0, bump_seconds=5.0)


def floor(history: History, price: int) -> None:
    for pool in history.node.ledger.pools:
        pool.window.floor = price


async def balanced(history: History) -> None:
    booked, shown = await history.books()
    assert booked == shown == history.balance(PAYER)


async def test_a_bump_that_the_signer_refuses_keeps_nothing_back(begin: Begin, evidence: Evidence) -> None:
    """R6, R3: the old bytes go again meanwhile; the limit is the signer's to raise."""
    history = await begin(evidence, rules=QUICK)
    history.policy = Policy(sinks=history.policy.sinks, max_fee=BaseUnits(1_200))
    await history.crash()
    (first,) = await history.submit(new("first"))
    await history.run(2, blocks=0)
    sent = (await history.intent(first)).variants[0]
    history.node.ledger.lose_pool()
    floor(history, 40)
    await history.run(8, blocks=0)
    bumped = await history.intent(first)
    assert [variant.tx_hash is None for variant in bumped.variants] == [False, True]

    floor(history, 0)
    await history.finalized([first])

    assert history.paid("first") == 1
    assert (await history.item(first)).tx_hash == sent.tx_hash
    assert (await history.intent(first)).state is State.FINAL
    assert (await history.account()).state is AccountState.ACTIVE
    await balanced(history)


async def test_a_pool_that_keeps_the_old_one_is_waited_for(begin: Begin, evidence: Evidence) -> None:
    """R6: the chain replaces nothing that is pooled: the dearer variant is made when the pool has dropped the old one."""
    history = await begin(evidence, rules=QUICK)
    (item,) = await history.submit(new("rent"))
    await history.run(2, blocks=0)
    floor(history, 40)
    await history.run(3, blocks=0)
    assert len((await history.intent(item)).variants) == 1  # it may still be pooled
    history.node.ledger.lose_pool()
    await history.run(6, blocks=0)
    found = await history.intent(item)
    assert [variant.kind for variant in found.variants] == [VariantKind.PAYMENT] * 2
    assert found.variants[1].fee > found.variants[0].fee

    await history.finalized([item])

    assert history.paid("rent") == 1
    assert (await history.item(item)).tx_hash == found.variants[1].tx_hash
    assert len(history.mined()) == 1
    await balanced(history)
