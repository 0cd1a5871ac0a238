"""Set back again before an earlier quarantine is over, and what is found in a quarantine (protocol.md §8, R9)."""

from collections.abc import Callable

import pytest
from tests.histories.conftest import Begin
from tests.histories.restoring import (
    PERSON,
    Backup,
    forget_pools,
    leave,
    office,
    quarantined,
    reached,
)
from tests.matrix import Row
from tests.world import PAYER, RESERVE, History, new

from treasuryd.commands import control, disbursements, quarantine
from treasuryd.core.model import AccountState, DisbursementId, Evidence, Hold, State, Status
from treasuryd.devnet.ledger import Then


async def moved_twice(begin: Begin, evidence: Evidence) -> tuple[History, DisbursementId]:
    """
    Moved, and the payer has left, while nobody looks at the other account: the quarantine is not over.

    Then the whole machine is set back into another file, and forgets a payment.
    """
    history = await begin(evidence, journal=True, accounts=(PAYER, RESERVE))
    await history.run(3)
    await Backup.of(history, "one").put_back(history, moved=True)
    assert await quarantined(history)
    await leave(history)
    (item,) = await history.submit(new("first"))
    backup = Backup.of(history, "two")
    await history.finalized([item])
    await backup.put_back(history, ledger=True, journal=True, moved=True)
    return history, item


@pytest.mark.matrix(Row.RESTORED)
async def test_a_second_move_stops_an_account_that_had_left_the_first_quarantine(
    begin: Begin, evidence: Evidence, injected: Callable[[int], None]
) -> None:
    """The sign says the same words as the first time; it is another one, and the payment is not made twice."""
    history, item = await moved_twice(begin, evidence)
    injected(1)
    assert await quarantined(history)
    await history.run(10)
    await leave(history)
    await history.run(40)
    assert (await history.item(item)).hold is Hold.RESTORED
    assert history.paid("first") == 1


async def test_a_restore_that_is_declared_again_in_the_same_words_stops_again(
    begin: Begin, evidence: Evidence
) -> None:
    """A person who says the same of the next restore is heard."""
    history = await begin(evidence, journal=True, accounts=(PAYER, RESERVE))
    await history.run(3)
    await quarantine.declare(office(history), PERSON)
    await history.step()
    await leave(history)
    await quarantine.declare(office(history), PERSON)
    assert await quarantined(history)


@pytest.mark.matrix(Row.RESTORED)
async def test_what_a_moved_machine_may_have_forgotten_is_not_rolled_back_in_quarantine(
    begin: Begin, evidence: Evidence, injected: Callable[[int], None]
) -> None:
    """It was paid; a person who reads "rolled back" submits it anew, and it is paid twice."""
    history = await begin(evidence, journal=True)
    await history.run(3)
    (item,) = await history.submit(new("first", scheduled=1))
    backup = Backup.of(history)
    await history.finalized([item])
    await backup.put_back(history, ledger=True, journal=True, moved=True)
    await history.run(10)
    injected(1)
    assert await quarantined(history), "taken up, and the chain shows a nonce that nobody knows"
    (said,) = await disbursements.cancel(office(history), (item,), PERSON)
    assert (said.done, said.what) == (False, "in_quarantine")
    assert (await history.item(item)).status is not Status.ROLLED_BACK


async def test_what_is_released_after_a_restore_is_paid_although_an_intent_of_it_is_void(
    begin: Begin,
) -> None:
    """The signer is told of the void intent with the release, or it refuses the item, and all behind it wait for ever."""
    history = await begin(Evidence.HASH, journal=True)
    await history.run(3)
    (rent,) = await history.submit(new("rent"))
    await history.until(lambda: reached(history, rent, State.BROADCAST), blocks=0)
    forget_pools(history)
    history.node.ledger.foreign_spend(PAYER, to="tb1thief", amount=0, fee=1_000)
    await history.until(lambda: reached(history, rent, State.VOID))
    await history.run(10)
    await control.thaw(office(history), PAYER, PERSON)
    await history.run(3)
    await quarantine.declare(office(history), PERSON)
    await history.step()
    await leave(history)
    assert (await history.item(rent)).hold is Hold.RESTORED
    (said,) = await disbursements.release(office(history), (rent,), PERSON)
    assert said.done, said
    (other,) = await history.submit(new("other", to="tb1bob"))
    await history.finalized([rent, other])
    assert history.paid("rent") == history.paid("other") == 1


@pytest.mark.parametrize("taken", [False, True], ids=["the nonce is free", "the nonce is taken"])
async def test_a_deep_reorg_in_quarantine_freezes_the_account_once_it_leaves(
    begin: Begin, evidence: Evidence, taken: bool
) -> None:
    """Else the item stays finalized with nothing on the chain, and `reopen` says that there was no such reorg."""
    history = await begin(evidence, journal=True)
    await history.run(3)
    (rent,) = await history.submit(new("rent"))
    await history.finalized([rent])
    await quarantine.declare(office(history), PERSON)
    await history.run(4)
    history.clock.now += 1.0
    ledger = history.node.ledger
    ledger.reorg(ledger.height - 3, now=history.clock.now, then=Then.NEVER)
    if taken:
        ledger.foreign_spend(PAYER, to="tb1thief", amount=0, fee=1_000)
    await history.tick()
    await history.run(6)
    assert await quarantined(history)
    await leave(history)
    account = await history.account()
    assert (account.state, account.cause) == (AccountState.FROZEN, "deep_reorg")
    await disbursements.reopen(office(history), rent, PERSON)
