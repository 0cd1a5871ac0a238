"""What the signer bound, in a store that says something else: named, never mixed (protocol.md §8)."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.histories.restoring import PERSON, office
from tests.world import PAYER, History, new

from treasuryd.commands import quarantine
from treasuryd.core.model import Binding, DisbursementId, IntentId, Nonce, Status
from treasuryd.errors import Rejected


@pytest.fixture
async def history(tmp_path: Path) -> Any:
    found = History(tmp_path)
    found.mine(2)
    await found.start()
    await found.run(3)
    yield found
    await found.close()


async def bound(history: History) -> Binding:
    """One payment, final; answers what the signer knows of it."""
    (item,) = await history.submit(new("rent"))
    await history.finalized([item])
    [binding] = await history.signer.bindings(PAYER, first=Nonce(1), limit=10)
    await quarantine.declare(office(history), PERSON)
    await history.step()
    return binding


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        pytest.param({"amount": 7}, "pays something else here", id="the same intent, other content"),
        pytest.param(
            {"intent_id": IntentId(9)}, "nonce 1 is intent 1 here, and intent 9 to the signer", id="one nonce"
        ),
        pytest.param(
            {"intent_id": IntentId(9), "nonce": Nonce(2)},
            "is being paid by intent 1 here",
            id="one item, twice",
        ),
        pytest.param(
            {"intent_id": IntentId(9), "nonce": Nonce(2), "disbursement_id": DisbursementId(5)},
            "the idempotency key 'request-1#0' is disbursement 1 here",
            id="one key, two items",
        ),
        pytest.param(
            {"intent_id": IntentId(9), "nonce": Nonce(2), "amount": 7},
            "disbursement 1 has other content here",
            id="one item, other content",
        ),
    ],
)
async def test_two_histories_are_named_and_keep_the_account(
    history: History, changes: dict[str, Any], said: str
) -> None:
    """Nothing of such a binding is taken in; no word of a person ends the quarantine over it."""
    binding = await bound(history)
    other = replace(binding, request=replace(binding.request, **changes))

    await history.store.adopt([other], frozenset(), history.mind.held)

    with pytest.raises(Rejected, match=said):
        await quarantine.resolve(office(history), PAYER, PERSON)
    assert len(await history.desk.intents(DisbursementId(1))) == 1


async def test_what_the_store_holds_already_is_left_as_it_is(history: History) -> None:
    """Adopting is repeatable, and what is final stays final."""
    binding = await bound(history)
    for _ in range(2):
        await history.store.adopt([binding], frozenset(), history.mind.held)
    assert await history.status(DisbursementId(1)) is Status.FINALIZED
    report, _ = await quarantine.show(office(history))
    assert report["accounts"][PAYER]["contradictions"] == []
    await quarantine.resolve(office(history), PAYER, PERSON)


async def test_nothing_is_adopted_under_an_old_lease(history: History) -> None:
    """The fence holds for repairs, too (R13)."""
    binding = await bound(history)
    stale = history.mind.held
    await history.crash()
    other = replace(binding, request=replace(binding.request, intent_id=IntentId(9)))
    await history.store.adopt([other], frozenset(), stale)
    report, _ = await quarantine.show(office(history))
    assert report["accounts"][PAYER]["contradictions"] == []


async def test_an_item_that_the_store_never_saw_is_imported(history: History) -> None:
    """With id, content and key, timelocked under a broadcast intent; new ids start above it."""
    binding = await bound(history)
    request = replace(
        binding.request,
        intent_id=IntentId(40),
        nonce=Nonce(2),
        disbursement_id=DisbursementId(50),
        idempotency_key="lost",
        memo="lost",
    )
    await history.store.adopt([replace(binding, request=request)], frozenset(), history.mind.held)
    item = await history.item(DisbursementId(50))
    assert (item.status, item.idempotency_key, item.memo, item.live_intent) == (
        Status.TIMELOCKED, "lost", "lost", 40,
    )  # fmt: skip
    with pytest.raises(Rejected, match="not in a block yet: the nonces 2"):
        await quarantine.resolve(office(history), PAYER, PERSON)


async def test_what_a_person_had_judged_void_is_void_again(history: History) -> None:
    """Its bytes are kept; nobody judges it twice."""
    binding = await bound(history)
    request = replace(
        binding.request,
        intent_id=IntentId(40),
        nonce=Nonce(2),
        disbursement_id=DisbursementId(50),
        idempotency_key="lost",
    )
    await history.store.adopt([replace(binding, request=request)], {IntentId(40)}, history.mind.held)
    [intent] = await history.desk.intents(DisbursementId(50))
    assert intent.state == "void"
    assert (await history.item(DisbursementId(50))).live_intent is None
