"""
Two stores went on under one signer, and the one that it knows is gone: held, decided on the chain, given up, paid once.

The journal forked: an id, a nonce or a key is one thing here and another thing to the signer (protocol.md §8).
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from tests.histories.conftest import Begin
from tests.histories.restoring import (
    PERSON,
    Backup,
    forget_pools,
    judge_by_the_chain,
    leave,
    office,
    quarantined,
    reached,
    release_unpaid,
    reset_breaker,
    settled,
)
from tests.matrix import Row
from tests.world import AMOUNT, PAYER, Crash, History, new

from treasuryd.commands import quarantine
from treasuryd.core.model import DisbursementId, Evidence, Hold, Nonce, State
from treasuryd.errors import Rejected

ONE = DisbursementId(1)


async def forked(begin: Begin, evidence: Evidence, *, here: str, out: bool, **options: Any) -> History:
    """
    A store whose disbursement 1 is "here", under a signer that bound and sent "there" as disbursement 1.

    Store and signer were set back together, somebody submitted anew, and then the newer ledger was found and put back.
    Args: here: how far "here" had got; out: whether the bytes of "there" are in the pool.
    """
    history = await begin(evidence, **options)
    await history.run(3)
    backup = Backup.of(history)
    (there,) = await history.submit(new("there"))
    await history.until(lambda: reached(history, there, State.BROADCAST), blocks=0)
    newer = Backup.of(history, "newer")
    sent = [offer for pool in history.node.ledger.pools for offer in pool]
    forget_pools(history)
    await backup.put_back(history, ledger=True)
    (mine,) = await history.submit(new("here", to="tb1bob", amount=AMOUNT + 1))
    assert mine == there == ONE
    if here == "staged":
        history.fuse.at = "signer.sign"
        with pytest.raises(Crash):
            await history.step(0)
        history.fuse.at = None
    elif here == "sent":
        await history.until(lambda: reached(history, mine, State.BROADCAST), blocks=0)
        forget_pools(history)
    await history.close()
    newer.put_ledger_back(history)
    for offer in sent if out else ():
        assert history.node.ledger.admit(offer, now=history.clock.now) == "ok"
    return await history.start()


async def decided(history: History, *, seconds: int = 150) -> None:
    """A person does what `quarantine show` asks for, gives the other store up at the end, and never earlier."""
    await reset_breaker(history)
    for _ in range(seconds):
        await history.step()
        await judge_by_the_chain(history)
        with suppress(Rejected):
            await quarantine.fill(office(history), PAYER, PERSON)
        with pytest.raises(Rejected, match=r"here.*signer"):
            await quarantine.resolve(office(history), PAYER, PERSON)
        with suppress(Rejected):
            await quarantine.resolve(office(history), PAYER, PERSON, give_up=True)
            return
    _, (shown,) = await quarantine.show(office(history))
    raise AssertionError(f"still in quarantine: {shown.points}")


@pytest.mark.matrix(Row.RESTORED)
@pytest.mark.parametrize("out", [True, False], ids=["theirs is out", "theirs is lost"])
@pytest.mark.parametrize("here", ["waiting", "staged", "sent"])
async def test_an_id_that_is_another_payment_to_the_signer_ends_by_a_persons_word(
    begin: Begin, evidence: Evidence, here: str, *, out: bool, injected: Callable[[int], None]
) -> None:
    """Whatever got into a block, each is paid once at most; what was not is released, and the account works on."""
    history = await forked(begin, evidence, here=here, out=out)
    injected(1)
    assert await quarantined(history)

    await decided(history)

    found = await history.item(ONE)
    assert found.hold in {Hold.RESTORED, Hold.NEEDS_RELEASE} or history.paid("here"), "in doubt, so held"
    await release_unpaid(history)
    (later,) = await history.submit(new("later", to="tb1carol"))
    assert later == 2
    await history.finalized([ONE, later])
    assert history.paid("there") <= 1
    await settled(history, ["here", "later"])


@pytest.mark.matrix(Row.RESTORED)
async def test_what_the_other_store_signed_is_final_before_it_is_given_up(
    begin: Begin, injected: Callable[[int], None]
) -> None:
    """Its bytes may be out: a word that comes too early is refused, and says what to wait for."""
    history = await forked(begin, Evidence.HASH, here="waiting", out=True)
    injected(1)
    await reset_breaker(history)
    await history.run(2, blocks=0)
    with pytest.raises(Rejected, match="its nonce 1 is not final on the chain yet"):
        await quarantine.resolve(office(history), PAYER, PERSON, give_up=True)
    assert await history.signer.judged_void(
        [(await history.signer.bindings(PAYER, first=Nonce(1), limit=1))[0].request.intent_id]
    ) == [False]
    await decided(history)
    assert history.paid("there") == 1


@pytest.mark.matrix(Row.RESTORED)
async def test_a_key_that_is_another_item_to_the_signer_holds_that_item(
    begin: Begin, evidence: Evidence, injected: Callable[[int], None]
) -> None:
    """The same request came in again, after another one: it has another id here, and it is the same payment."""
    history = await begin(evidence)
    await history.run(3)
    backup = Backup.of(history)
    (first,) = await history.submit(new("rent"))
    await history.until(lambda: reached(history, first, State.BROADCAST), blocks=0)
    newer = Backup.of(history, "newer")
    await backup.put_back(history, ledger=True)
    history.submissions += 1
    await history.submit(new("other", to="tb1bob", scheduled=400))
    history.submissions = 0
    (again,) = await history.submit(new("rent"))
    await history.close()
    newer.put_ledger_back(history)
    await history.start()
    injected(1)
    await decided(history)
    assert history.paid("rent") == 1
    assert (await history.item(again)).hold is Hold.RESTORED
    await history.run(30)
    assert history.paid("rent") == 1, "held, until a person has looked"


async def test_nothing_is_filled_before_the_signer_was_asked(begin: Begin) -> None:
    """A filler under a nonce that the signer knows would stand in the way of what it bound."""
    history = await begin()
    await history.run(3)
    backup = Backup.of(history)
    (item,) = await history.submit(new("rent"))
    await history.until(lambda: reached(history, item, State.BROADCAST), blocks=0)
    forget_pools(history)
    history.fuse.at = "store.lowest_open"
    with suppress(Crash):
        await backup.put_back(history)
    history.fuse.at = None
    history.mind.compared = True
    with pytest.raises(Rejected, match="has not been taken up yet"):
        await quarantine.fill(office(history), PAYER, PERSON)
    await history.crash()
    await leave(history)
    await history.finalized([item])
    await settled(history, ["rent"])
