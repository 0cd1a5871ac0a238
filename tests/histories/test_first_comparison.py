"""A store that nobody has held against the signer's memory since it was opened: nothing comes in, nothing changes (§8)."""

from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest
from tests.histories.conftest import Begin
from tests.histories.restoring import PERSON, Backup, leave, office, quarantined, release_unpaid, settled
from tests.matrix import Row
from tests.world import PAYER, TIMING, History, new

from treasuryd.commands import control, disbursements, proposals, quarantine
from treasuryd.commands.office import Office
from treasuryd.core.model import Decision, DisbursementId, Evidence, HouseName, Nonce
from treasuryd.errors import Refusal, Rejected, Transient

WANTED = {
    "account": str(PAYER),
    "destination": "tb1carol",
    "amount": 7_000,
    "memo": "wanted",
    "scheduled_epoch": 1,
}
ONE = DisbursementId(1)
VOTE = proposals.Signed(
    house=HouseName.OPERATORS, key="00" * 32, counter=0, decision=Decision.APPROVE, signature="00" * 64
)
ORDERS: dict[str, Callable[[Office], Awaitable[Any]]] = {
    "submit": lambda one: disbursements.submit(one, [WANTED], key="later"),
    "open_batch": lambda one: disbursements.open_batch(one, "batch"),
    "add_part": lambda one: disbursements.add_part(one, "batch", 1, [WANTED]),
    "seal_batch": lambda one: disbursements.seal_batch(one, "batch", parts=1),
    "vote": lambda one: proposals.take(one, ONE, VOTE),
    "cancel": lambda one: disbursements.cancel(one, (ONE,), PERSON),
    "rollback": lambda one: disbursements.rollback(one, ONE, PERSON),
    "reopen": lambda one: disbursements.reopen(one, ONE, PERSON),
    "release": lambda one: disbursements.release(one, (ONE,), PERSON),
    "resolve": lambda one: disbursements.resolve(one, (ONE,), paid=False, by=PERSON),
    "thaw": lambda one: control.thaw(one, PAYER, PERSON),
    "fill": lambda one: control.fill(one, PAYER, [Nonce(1)], PERSON),
    "leave the quarantine": lambda one: quarantine.resolve(one, PAYER, PERSON),
    "fill what is lost": lambda one: quarantine.fill(one, PAYER, PERSON),
    "import": lambda one: quarantine.import_bindings(one, PAYER, PERSON),
}


class Silent:
    """A signer whose ledger is locked by another process for a while."""

    def __init__(self, signer: Any) -> None:
        self._signer = signer
        self.locked = True

    def __getattr__(self, name: str) -> Any:
        return self._refuse if self.locked else getattr(self._signer, name)

    async def _refuse(self, *_args: Any, **_kwargs: Any) -> Any:
        raise Transient("the ledger stayed locked")


async def _paid_after_a_backup(begin: Begin, evidence: Evidence) -> tuple[History, Backup]:
    history = await begin(evidence)
    await history.run(3)
    backup = Backup.of(history)
    (first,) = await history.submit(new("first"))
    await history.finalized([first])
    return history, backup


@pytest.mark.matrix(Row.RESTORED)
async def test_an_old_store_in_another_folder_is_compared_before_its_lease_is_free(
    begin: Begin, evidence: Evidence, injected: Callable[[int], None]
) -> None:
    """The old row says that somebody holds the lease: while that is waited out, an id would be given out twice."""
    history, backup = await _paid_after_a_backup(begin, evidence)
    history.alone = False
    await backup.put_back(history)
    injected(1)

    assert not history.mind.leads()
    assert await quarantined(history)
    with pytest.raises(Rejected, match="quarantine"):
        await disbursements.submit(office(history), [WANTED], key="later")

    await history.run(int(TIMING.candidate_wait_seconds) + 2)
    await leave(history)
    await release_unpaid(history)
    done = await disbursements.submit(office(history), [WANTED], key="later")
    assert done.items[0].id == 2
    await history.finalized([done.items[0].id])
    await settled(history, ["first", "wanted"])


@pytest.mark.matrix(Row.RESTORED)
@pytest.mark.parametrize("order", ORDERS)
async def test_while_the_signer_cannot_be_asked_nothing_is_ordered(
    begin: Begin, order: str, injected: Callable[[int], None]
) -> None:
    """Whether this store is the newest is not known: a person's word may be about another one."""
    history, backup = await _paid_after_a_backup(begin, Evidence.HASH)
    history.behind = Silent
    await backup.put_back(history)
    injected(1)
    silent = cast("Silent", history.world.signer)

    assert not await quarantined(history)
    with pytest.raises(Rejected, match="not been held against") as refused:
        await ORDERS[order](office(history))
    assert refused.value.kind is Refusal.UNAVAILABLE

    silent.locked = False
    await history.step()
    assert await quarantined(history)


async def test_what_stops_is_taken_before_the_comparison(begin: Begin) -> None:
    """A freeze, the kill switch and a declared restore are never in the way of anything."""
    history, backup = await _paid_after_a_backup(begin, Evidence.HASH)
    history.behind = Silent
    await backup.put_back(history)
    await control.freeze(office(history), PAYER, PERSON)
    assert (await history.account()).state == "frozen"
    await quarantine.declare(office(history), PERSON)
    assert await quarantined(history)
