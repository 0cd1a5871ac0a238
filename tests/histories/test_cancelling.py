"""Histories with a person's cancel, the signer's refusal, poison and the kill switch in them (protocol.md R7, R8, R11)."""

from contextlib import suppress
from dataclasses import replace
from typing import Any, cast

import pytest
from tests.histories.conftest import Begin
from tests.matrix import Row
from tests.world import ADA, AMOUNT, PAYER, RULES, SINK, Crash, Fused, History, new

from treasuryd.core.events import EventKind
from treasuryd.core.model import (
    AccountState,
    Address,
    BaseUnits,
    BreakerMode,
    BreakerOverride,
    CallClass,
    DisbursementId,
    Endpoint,
    Evidence,
    State,
    Status,
    VariantKind,
)
from treasuryd.devnet.faults import Wrong
from treasuryd.signer.policy import Policy


async def test_a_cancel_before_staging_rolls_back_at_once(begin: Begin, evidence: Evidence) -> None:
    """§2: without a live intent a cancel is final, and nothing is ever signed."""
    history = await begin(evidence)
    (item,) = await history.submit(new("rent", scheduled=2))
    await history.cancel(item)

    await history.run(40)

    assert await history.status(item) is Status.ROLLED_BACK
    assert (history.paid("rent"), await history.desk.intents(item)) == (0, [])


async def test_a_cancel_after_staging_is_replaced_on_its_nonce(begin: Begin, evidence: Evidence) -> None:
    """R7: the payment never got in; the cancel variant takes its nonce, and the item is rolled back when it is final."""
    history = await begin(evidence)
    history.node.faults.add(Wrong.REFUSE, verdict="MempoolFull", times=None)
    (item,) = await history.submit(new("rent"))
    await history.run(2)
    assert (await history.intent(item)).state is State.BROADCAST
    await history.cancel(item)
    history.node.faults.clear()

    await history.until(lambda: _rolled_back(history, item))

    assert history.paid("rent") == 0
    assert history.mined() == [(1, SINK, 1)]
    assert (await history.intent(item)).state is State.VOID
    booked, shown = await history.books()
    assert booked == shown == history.balance(PAYER)


async def _rolled_back(history: History, item: DisbursementId) -> bool:
    return await history.status(item) is Status.ROLLED_BACK


async def test_a_payment_that_wins_against_its_cancel_stays_paid(begin: Begin, evidence: Evidence) -> None:
    """R7: the payment is pooled already, so the chain takes no second one: executed, and the request has failed."""
    history = await begin(evidence)
    (item,) = await history.submit(new("rent"))
    await history.run(2, blocks=0)
    assert history.pooled() == [1]
    await history.cancel(item)
    await history.run(2, blocks=0)

    await history.finalized([item])

    assert history.paid("rent") == 1
    assert (await history.item(item)).cancel_requested


@pytest.mark.matrix(Row.CANCELLATION_CRASH)
async def test_a_cancel_between_staging_and_sending_never_sends_the_payment(
    begin: Begin, evidence: Evidence
) -> None:
    """R3: the process dies after staging, a person cancels: from then on the cancel variant goes alone."""
    history = await begin(evidence)
    (item,) = await history.submit(new("rent"))
    await _die_at(history, "signer.sign")
    assert (await history.intent(item)).state is State.STAGED
    await history.cancel(item)
    await history.crash()

    await history.until(lambda: _rolled_back(history, item))

    assert history.paid("rent") == 0
    intent = await history.intent(item)
    assert [variant.attempts for variant in intent.variants if variant.kind is VariantKind.PAYMENT] == [0]


async def _die_at(history: History, name: str) -> None:
    """Run until the named port is about to be called, and die there."""
    history.fuse.at = name
    with suppress(Crash):
        await history.run(6)
    history.fuse.at = None


async def test_without_look_up_nothing_passes_a_nonce_with_two_payloads(begin: Begin) -> None:
    """R7: while payment and cancel of one nonce are out, nothing behind it is sent, and no second cancel is ordered."""
    history = await begin(Evidence.BALANCE)
    items = await history.submit(*(new(f"pay {n}", to=f"tb1to{n}") for n in range(3)))
    await history.until(lambda: _pooled(history, 3), blocks=0)
    history.node.ledger.lose_pool()
    await history.cancel(items[0])
    await history.cancel(items[2])
    later = await history.submit(new("later", to="tb1later"))

    for _ in range(14):
        await history.step(blocks=0)
        kinds = [{v.kind for v in (await history.intent(item)).variants} for item in items]
        assert kinds.count({VariantKind.PAYMENT, VariantKind.CANCEL}) <= 1
        assert set(history.pooled()) <= {1}
    await history.until(lambda: _rolled_back(history, items[0]))
    await history.until(lambda: _rolled_back(history, items[2]))
    await history.finalized([items[1], *later])

    assert [history.paid(f"pay {n}") for n in range(3)] == [0, 1, 0]
    assert history.paid("later") == 1


async def _pooled(history: History, count: int) -> bool:
    return len(history.pooled()) == count


async def test_our_own_cancel_is_not_taken_for_our_payment(begin: Begin) -> None:
    """§5.1: the cancel wins while the destination gets our amount from elsewhere: not paid."""
    history = await begin(Evidence.BALANCE)
    history.node.faults.add(Wrong.REFUSE, verdict="MempoolFull", times=None)
    (item,) = await history.submit(new("rent"))
    await history.run(2)
    await history.cancel(item)
    history.node.faults.clear()
    await history.step(blocks=0)
    history.node.ledger.deposit("tb1alice", AMOUNT)
    await history.run(10)

    assert history.paid("rent") == 0
    assert await history.status(item) not in {Status.EXECUTED, Status.FINALIZED}


async def test_poison_is_held_and_replaced_on_its_own_nonce(begin: Begin, evidence: Evidence) -> None:
    """R8: refused for its content again and again: the item is held, its nonce cancelled, and the next one is paid."""
    history = await begin(evidence)
    history.node.faults.add(Wrong.REFUSE, verdict="BalanceOverflow", times=RULES.poison_refusals)
    (poison,) = await history.submit(new("poison"))
    await history.until(lambda: _poisoned(history, poison), seconds=60)
    (good,) = await history.submit(new("good", to="tb1bob"))

    await history.finalized([good])

    assert (history.paid("poison"), history.paid("good")) == (0, 1)
    item = await history.item(poison)
    assert (item.status, item.hold) == (Status.TIMELOCKED, "poisoned")
    assert (await history.intent(poison)).state is State.VOID
    assert (1, SINK, 1) in history.mined()


async def _poisoned(history: History, item: DisbursementId) -> bool:
    return (await history.item(item)).hold == "poisoned"


async def test_what_the_signer_refuses_falls_out_alone(begin: Begin, evidence: Evidence) -> None:
    """R11: the vetted refusal gets no nonce; the item is held `refused`, the others are paid without a gap."""
    policy = Policy(sinks={PAYER: Address(SINK)}, max_fee=BaseUnits(50_000), max_amount=BaseUnits(AMOUNT))
    history = await begin(evidence, policy=policy)
    first, large, last = await history.submit(
        new("first"), new("large", to="tb1big", amount=AMOUNT + 1), new("last", to="tb1bob")
    )

    await history.finalized([first, last])

    assert (await history.item(large)).hold == "refused"
    assert [nonce for nonce, _, _ in history.mined()] == [1, 2]


class Lenient(Fused):
    """A signer whose vetting sees nothing."""

    async def vet(self, drafts: Any) -> Any:
        return drafts


@pytest.mark.matrix(Row.SIGNER_REFUSES)
async def test_a_refusal_after_staging_returns_the_nonces(begin: Begin, evidence: Evidence) -> None:
    """§9: the signer refuses row k: the rows before it go on, k is held, the later ones are staged anew."""
    history = await begin(evidence)

    policy = Policy(sinks={PAYER: Address(SINK)}, max_fee=BaseUnits(50_000), max_amount=BaseUnits(AMOUNT))
    history.policy = policy
    await history.crash()
    lenient = cast("Any", Lenient(history.signer, history.fuse, "signer"))
    history.ticker.world = replace(history.world, signer=lenient)
    first, large, last = await history.submit(
        new("first"), new("large", to="tb1big", amount=AMOUNT + 1), new("last", to="tb1bob")
    )

    await history.finalized([first, last])

    assert (await history.item(large)).hold == "refused"
    assert (await history.intent(large)).state is State.VOID
    assert [nonce for nonce, _, _ in history.mined()] == [1, 2]
    await history.desk.release([large], by=ADA)
    await history.run(5)
    assert history.paid("large") == 0


async def test_the_kill_switch_stops_staging_signing_and_sending(begin: Begin, evidence: Evidence) -> None:
    """§7: forced open by a person: nothing new leaves, across a restart; what is out is confirmed all the same."""
    history = await begin(evidence)
    (out,) = await history.submit(new("out"))
    await history.run(2, blocks=0)
    assert history.pooled() == [1]
    await _switch(history, BreakerMode.FORCED_OPEN)
    (waiting,) = await history.submit(new("waiting", to="tb1bob"))
    sends = history.transport.methods.count("submit_tx")
    await history.run(3)
    await history.crash()

    await history.finalized([out])

    assert history.transport.methods.count("submit_tx") == sends
    assert await history.desk.intents(waiting) == []
    assert history.mind.waiting == {"kill_switch": 1}
    await _switch(history, BreakerMode.AUTO)
    await history.finalized([waiting])
    assert (history.paid("out"), history.paid("waiting")) == (1, 1)


async def _switch(history: History, mode: BreakerMode) -> None:
    word = BreakerOverride(endpoint=Endpoint("*"), call_class=CallClass.SEND, mode=mode, reason="a drill")
    await history.desk.force_breaker(word)
    history.chain.force([word])


async def test_a_head_that_waits_too_long_pages_once(begin: Begin) -> None:
    """R8: the oldest unburned nonce waited past `head_wait`: a page, not one per tick, and no cancellation."""
    history = await begin(rules=replace(RULES, head_wait_seconds=20.0))
    (item,) = await history.submit(new("rent"))
    await history.run(35, blocks=0)

    pages = history.events(EventKind.HEAD_WAITS)
    assert len(pages) == 1
    assert await history.status(item) is Status.TIMELOCKED
    await history.finalized([item])
    assert (await history.account()).state is AccountState.ACTIVE


async def test_a_person_replaces_a_head_that_waits_too_long(begin: Begin, evidence: Evidence) -> None:
    """R8: it is waiting, not poisoned: paged, still wanted, until a person orders its replacement on the same nonce."""
    history = await begin(evidence, rules=replace(RULES, head_wait_seconds=20.0))
    history.node.faults.add(Wrong.REFUSE, verdict="InsufficientBalance", times=None)
    waits, behind = await history.submit(new("waits"), new("behind", to="tb1bob"))
    await history.run(35)
    assert history.events(EventKind.HEAD_WAITS)[0].ids == (waits,)
    found = await history.item(waits)
    assert (found.status, found.hold) == (Status.TIMELOCKED, None)
    assert [one.kind for one in (await history.intent(waits)).variants] == [VariantKind.PAYMENT]

    await history.cancel(waits)
    history.node.faults.clear()
    await history.until(lambda: _rolled_back(history, waits))
    await history.finalized([behind])

    assert (history.paid("waits"), history.paid("behind")) == (0, 1)
    assert history.mined()[0] == (1, SINK, 1)
