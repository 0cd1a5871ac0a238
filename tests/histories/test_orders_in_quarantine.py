"""What a person may say of an item while nobody knows whether it was paid (protocol.md §2, §8)."""

from collections.abc import Callable

import pytest
from tests.histories.conftest import Begin
from tests.histories.restoring import (
    PERSON,
    Backup,
    forget_pools,
    leave,
    lose_ledger,
    office,
    quarantined,
    reached,
    reset_breaker,
    settled,
)
from tests.matrix import Row
from tests.world import PAYER, History, new

from treasuryd.commands import disbursements, quarantine
from treasuryd.commands.office import Outcome
from treasuryd.core.model import DisbursementId, Evidence, Hold, State, Status
from treasuryd.errors import Rejected


async def cancel(history: History, item: DisbursementId) -> Outcome:
    (row,) = await disbursements.cancel(office(history), (item,), PERSON)
    return row


async def release(history: History, item: DisbursementId) -> Outcome:
    (row,) = await disbursements.release(office(history), (item,), PERSON)
    return row


@pytest.mark.matrix(Row.RESTORED)
async def test_what_may_have_been_paid_is_neither_cancelled_nor_released_before_it_is_decided(
    begin: Begin, evidence: Evidence, injected: Callable[[int], None]
) -> None:
    """Every memory of the payment is lost: rolled back and paid would be a lie, released and paid a second payment."""
    history = await begin(evidence)
    await history.run(3)
    (item,) = await history.submit(new("rent", scheduled=1))
    backup = Backup.of(history)
    await history.finalized([item])
    await lose_ledger(history)
    await backup.put_back(history)
    await quarantine.declare(office(history), PERSON)
    injected(1)

    assert (await cancel(history, item)).what == "in_quarantine", "nobody has taken it up"
    await quarantine.import_bindings(office(history), PAYER, PERSON, give_up=True)
    await history.step()
    assert (await history.item(item)).hold is Hold.RESTORED
    for order in (cancel, release):
        said = await order(history, item)
        assert (said.done, said.what) == (False, "in_quarantine"), said
    found = await history.item(item)
    assert (found.status, found.hold) == (Status.DRAFT, Hold.RESTORED)

    await leave(history)
    assert (await cancel(history, item)).done, "the hold has told what it may have been"
    assert history.paid("rent") == 1


@pytest.mark.matrix(Row.RESTORED)
async def test_where_nothing_is_missing_a_cancel_is_taken_in_quarantine_too(
    begin: Begin, evidence: Evidence, injected: Callable[[int], None]
) -> None:
    """The journal's copy brought everything back: what is unpaid here is unpaid."""
    history = await begin(evidence, journal=True)
    await history.run(3)
    backup = Backup.of(history)
    wanted, other = await history.submit(new("wanted", scheduled=9), new("other", to="tb1bob", scheduled=9))
    await backup.put_back(history)
    injected(1)
    await history.step()
    assert await quarantined(history)
    assert (await cancel(history, other)).done
    await leave(history)
    await history.finalized([wanted], seconds=200)
    assert await history.status(other) is Status.ROLLED_BACK
    await settled(history, ["wanted"])
    assert history.paid("other") == 0


@pytest.mark.matrix(Row.RESTORED)
async def test_a_cancel_of_what_is_under_way_is_requested_in_quarantine_too(
    begin: Begin, evidence: Evidence, injected: Callable[[int], None]
) -> None:
    """It has a live intent, so that the chain decides: what was asked for is kept until then."""
    history = await begin(evidence)
    await history.run(3)
    backup = Backup.of(history)
    (item,) = await history.submit(new("rent"))
    await history.until(lambda: reached(history, item, State.BROADCAST), blocks=0)
    forget_pools(history)
    await backup.put_back(history)
    injected(1)
    assert (await cancel(history, item)).what == "cancel_requested"
    await reset_breaker(history)
    for _ in range(60):
        await history.step()
        try:
            await quarantine.resolve(office(history), PAYER, PERSON)
        except Rejected:
            continue
        break
    assert not await quarantined(history)
    await history.run(40)
    ended = (await history.item(item)).status
    assert history.paid("rent") == (1 if ended in {Status.EXECUTED, Status.FINALIZED} else 0)
