"""Whole histories in which the world behaves, or misbehaves in an ordinary way, and everything is paid once."""

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.histories.conftest import Begin
from tests.matrix import Row
from tests.world import ADA, AMOUNT, CHAIN_ID, OPENING, PAYER, RESERVE, RULES, History, new

from treasuryd.chain.transport import Answer, Lost
from treasuryd.core.model import (
    BaseUnits,
    Decision,
    DisbursementId,
    Evidence,
    Hold,
    House,
    HouseName,
    Ppm,
    Proposal,
    Rules,
    State,
    Status,
    Vote,
)
from treasuryd.core.proposals import vote_message
from treasuryd.devnet.faults import Wrong
from treasuryd.devnet.ledger import Then

VOTER = Ed25519PrivateKey.from_private_bytes(bytes([9]) * 32)
HOUSES = {name: House(name=name, keys={VOTER.public_key().public_bytes_raw().hex(): 1}) for name in HouseName}
PROPOSAL = Proposal(
    title="grant",
    summary="a year of work",
    operators_ppm=Ppm(600_000),
    builders_ppm=Ppm(600_000),
    vote_window_epochs=1,
    timelock_epochs=2,
)


async def approve(history: History, item: DisbursementId) -> None:
    """Vote in both houses."""
    found = await history.item(item)
    for house in HouseName:
        message = vote_message(
            chain_id=CHAIN_ID,
            disbursement_id=item,
            digest=found.payload_digest,
            counter=0,
            decision=Decision.APPROVE,
        )
        vote = Vote(
            disbursement_id=item,
            house=house,
            key=VOTER.public_key().public_bytes_raw().hex(),
            counter=0,
            decision=Decision.APPROVE,
            signature=VOTER.sign(message).hex(),
        )
        await history.desk.take_vote(vote, now=history.clock.unix_seconds())


async def test_one_payment_becomes_final(begin: Begin, evidence: Evidence) -> None:
    """D36: the thinnest whole path; paid amount and fee are the change of the chain balance, to the unit."""
    history = await begin(evidence)
    items = await history.submit(new("rent"))

    await history.finalized(items)

    assert history.paid("rent") == 1
    assert history.balance("tb1alice") == AMOUNT
    item = await history.item(items[0])
    assert item.evidence is evidence
    booked, shown = await history.books()
    assert booked == shown == OPENING - AMOUNT - (item.fee_paid or 0) == history.balance(PAYER)


async def test_a_batch_is_paid_in_the_order_of_its_dependencies(begin: Begin, evidence: Evidence) -> None:
    """D11: a dependent waits until its dependency is finalized; both are paid once."""
    history = await begin(evidence)
    first = await history.submit(new("first"), new("beside", to="tb1bob"))
    second = await history.submit(new("second", depends_on=first[:1]))

    await history.until(lambda: _is(history, first[0], Status.EXECUTED))
    assert await history.status(second[0]) is Status.TIMELOCKED
    assert history.paid("second") == 0
    await history.finalized([*first, *second])

    assert [history.paid(memo) for memo in ("first", "beside", "second")] == [1, 1, 1]


async def _is(history: History, item: DisbursementId, status: Status) -> bool:
    return await history.status(item) is status


async def test_votes_and_timelock_come_before_the_payment(begin: Begin, evidence: Evidence) -> None:
    """D1: a queued item is never staged before its activation epoch, and holds up nobody."""
    rules = replace(RULES, houses=HOUSES)
    history = await begin(evidence, rules=rules)
    granted, plain = await history.submit(new("grant", proposal=PROPOSAL), new("plain", to="tb1bob"))
    await history.until(lambda: _is(history, granted, Status.VOTING))
    await approve(history, granted)
    await history.until(lambda: _is(history, granted, Status.QUEUED))
    activation = (await history.item(granted)).activation_epoch
    assert activation is not None

    while (await history.item(granted)).status is Status.QUEUED:
        assert await history.desk.intents(granted) == []
        assert (await history.desk.chain_state()).settled < activation
        await history.step()
    await history.finalized([granted, plain])

    assert (history.paid("grant"), history.paid("plain")) == (1, 1)
    executed = (await history.item(granted)).executed_epoch
    assert executed is not None
    assert executed >= activation


async def test_without_a_quorum_nothing_is_ever_paid(begin: Begin) -> None:
    """D20: a proposal that nobody votes for is rolled back at its deadline, and its dependents are held."""
    history = await begin(rules=replace(RULES, houses=HOUSES))
    (granted,) = await history.submit(new("grant", proposal=PROPOSAL))
    (dependent,) = await history.submit(new("after", depends_on=[granted]))

    await history.until(lambda: _is(history, granted, Status.ROLLED_BACK))
    await history.run(20)

    assert (await history.item(granted)).reason == "quorum_not_reached"
    assert (history.paid("grant"), history.paid("after")) == (0, 0)
    assert (await history.item(dependent)).hold == "dependency_failed"


@pytest.mark.matrix(Row.DROPPED)
async def test_a_lost_mempool_is_filled_again_oldest_nonce_first(begin: Begin, evidence: Evidence) -> None:
    """D4, N3: after mempool loss the oldest unburned nonce is re-sent first, with the same bytes, and the rest follow."""
    history = await begin(evidence)
    items = await history.submit(*(new(f"pay {n}", to=f"tb1to{n}") for n in range(5)))
    await history.step(blocks=0)
    await history.step(blocks=1)
    bytes_before = [(await history.intent(item)).variants for item in items]
    history.node.ledger.lose_pool()

    await history.finalized(items)

    assert [nonce for nonce, _, _ in history.mined()] == [1, 2, 3, 4, 5]
    for item, before in zip(items, bytes_before, strict=True):
        after = (await history.intent(item)).variants
        assert [v.tx_hash for v in after] == [v.tx_hash for v in before] or before[0].tx_hash is None
    assert [history.paid(f"pay {n}") for n in range(5)] == [1] * 5


@pytest.mark.matrix(Row.DROPPED)
async def test_a_pool_that_is_lost_before_the_first_block_is_filled_again(
    begin: Begin, evidence: Evidence
) -> None:
    """D4: nothing was included when everything vanished; the same hashes are mined."""
    history = await begin(evidence)
    items = await history.submit(*(new(f"pay {n}", to=f"tb1to{n}") for n in range(3)))
    await history.until(lambda: _pooled(history, 3), blocks=0)
    hashes = [(await history.intent(item)).variants[0].tx_hash for item in items]
    assert history.node.ledger.lose_pool() == 3

    await history.run(5, blocks=0)
    assert history.pooled() == []  # not due yet
    await history.run(10, blocks=0)
    assert history.pooled() == [1, 2, 3]
    await history.finalized(items)

    assert [(await history.item(item)).tx_hash for item in items] == hashes


async def _pooled(history: History, count: int) -> bool:
    return len(history.pooled()) == count


@pytest.mark.matrix(Row.ORDINARY_REORG)
async def test_an_ordinary_reorg_includes_the_payment_again(begin: Begin, evidence: Evidence) -> None:
    """D12: a reorg takes the execution back; the same payment is included again, once, and freezes nothing."""
    history = await begin(evidence)
    history.node.faults.add(
        Wrong.REFUSE, verdict="MempoolFull", times=4
    )  # so that older frames show its payee
    (item,) = await history.submit(new("rent"))
    await history.until(lambda: _is(history, item, Status.EXECUTED))
    before = (await history.item(item)).tx_hash
    history.clock.now += 1.0
    history.node.ledger.reorg(2, now=history.clock.now)
    await history.tick()

    await history.finalized([item])

    assert history.paid("rent") == 1
    assert (await history.item(item)).tx_hash == before
    assert (await history.account()).state == "active"


@pytest.mark.matrix(Row.REORGED)
async def test_a_reorg_that_forgets_the_payment_sends_it_again(begin: Begin, evidence: Evidence) -> None:
    """D12: back from executed to timelocked, and the same bytes go out again."""
    history = await begin(evidence)
    (item,) = await history.submit(new("rent"))
    await history.until(lambda: _is(history, item, Status.EXECUTED))
    before = (await history.item(item)).tx_hash
    depth = history.node.ledger.height - ((await history.item(item)).executed_height or 0) + 1
    history.clock.now += 1.0
    history.node.ledger.reorg(depth, now=history.clock.now, then=Then.NEVER)
    await history.tick()
    await history.until(lambda: _is(history, item, Status.TIMELOCKED), seconds=3)

    await history.finalized([item])

    assert (history.paid("rent"), (await history.item(item)).tx_hash) == (1, before)
    booked, shown = await history.books()
    assert booked == shown


@pytest.mark.matrix(Row.SMALL_DEPOSIT)
async def test_a_raised_tip_is_booked_as_charged(begin: Begin, evidence: Evidence) -> None:
    """N5: a relay may raise the tip within the signed fee; it is our payment all the same."""
    history = await begin(evidence)
    history.node.faults.add(Wrong.RAISE_TIP)
    (item,) = await history.submit(new("rent"))

    await history.finalized([item])

    booked, shown = await history.books()
    assert booked == shown == history.balance(PAYER)


async def test_a_rising_floor_is_paid_on_the_same_nonce(begin: Begin, evidence: Evidence) -> None:
    """D5, N14: what the node refuses for its fee is priced anew on its own nonce, at once, and paid."""
    history = await begin(evidence)
    items = await history.submit(*(new(f"pay {n}", to=f"tb1to{n}") for n in range(4)))
    await history.step(blocks=0)
    history.node.faults.add(Wrong.REFUSE, verdict="FeeTooLow")
    history.node.ledger.pools[0].window.floor = 6

    await history.finalized(items, seconds=60)

    assert [history.paid(f"pay {n}") for n in range(4)] == [1] * 4
    assert [nonce for nonce, _, _ in history.mined()] == [1, 2, 3, 4]
    for item in items:
        assert (await history.item(item)).status is Status.FINALIZED
        assert len(await history.desk.intents(item)) == 1


async def test_a_floor_above_the_ceiling_waits_and_cancels_nothing(begin: Begin, evidence: Evidence) -> None:
    """D5, N13: above the ceiling items wait with their reason; when the floor falls they are paid."""
    history = await begin(evidence)
    await history.run(2)
    history.node.ledger.pools[0].window.floor = 1_000
    (item,) = await history.submit(new("rent"))
    await history.run(20)
    assert await history.status(item) is Status.TIMELOCKED
    assert history.mind.waiting == {"fee_above_ceiling": 1}
    assert await history.desk.intents(item) == []

    history.node.ledger.pools[0].window.floor = 0
    await history.finalized([item])

    assert history.paid("rent") == 1


async def test_a_refused_payment_stays_a_payment(begin: Begin, evidence: Evidence) -> None:
    """D6, N4: any refusal of a re-send leads to the chain, never to a status change: paid once."""
    history = await begin(evidence)
    history.node.faults.add(Wrong.REFUSE, verdict="InsufficientBalance")
    (item,) = await history.submit(new("rent"))
    await history.step(blocks=0)
    await history.step(blocks=0)
    assert (await history.intent(item)).state is State.BROADCAST
    assert await history.status(item) is Status.TIMELOCKED

    await history.finalized([item])

    assert history.paid("rent") == 1
    assert len(await history.desk.intents(item)) == 1


@pytest.mark.matrix(Row.REPLY_LOST)
async def test_a_mined_payment_answered_with_a_refusal_is_adopted(begin: Begin, evidence: Evidence) -> None:
    """D2, D6: the reply was lost and the re-send is refused; the chain says it is paid."""
    history = await begin(evidence)
    lost = {"on": True}

    def after(body: bytes, answer: Answer) -> Answer:
        if lost["on"] and b"submit_tx" in body:
            raise Lost("the connection dropped")
        return answer

    history.transport.after = after
    (item,) = await history.submit(new("rent"))
    await history.step(blocks=0)
    await history.step(blocks=0)
    assert history.pooled() == [1]
    lost["on"] = False

    await history.finalized([item])

    assert history.paid("rent") == 1


async def test_a_huge_item_does_not_delay_the_small_one_behind_it(begin: Begin, evidence: Evidence) -> None:
    """D7, D8: what cannot be afforded is held before staging; what comes after it is paid."""
    history = await begin(evidence)
    huge, small = await history.submit(new("huge", amount=OPENING + 1), new("small", to="tb1bob"))

    await history.finalized([small])

    assert await history.desk.intents(huge) == []
    assert await history.status(huge) is Status.TIMELOCKED
    history.node.ledger.deposit(PAYER, OPENING)
    await history.finalized([huge])
    assert (history.paid("huge"), history.paid("small")) == (1, 1)


async def test_what_lacks_the_fee_alone_leaves_room_for_the_small_one(
    begin: Begin, evidence: Evidence
) -> None:
    """D8: more items than a tick looks at, of exactly what is there, stand before one that can be paid."""
    history = await begin(evidence)
    many = [new(f"all of it {number}", amount=OPENING) for number in range(RULES.batch_min + 2)]
    *_, small = await history.submit(*many, new("small", to="tb1small"))

    await history.finalized([small])

    assert history.paid("small") == 1


async def test_many_unaffordable_items_leave_room_for_the_small_one(begin: Begin) -> None:
    """D8: sixteen items that only one of can be afforded do not fill the pipeline."""
    rules = replace(RULES, max_unburned=4)
    history = await begin(rules=rules)
    big = await history.submit(
        *(new(f"big {n}", to=f"tb1big{n}", amount=OPENING * 3 // 4) for n in range(16))
    )
    (small,) = await history.submit(new("small", to="tb1bob"))

    await history.finalized([small])

    assert sum(history.paid(f"big {n}") for n in range(len(big))) == 1


async def test_two_accounts_keep_their_own_sequences(begin: Begin) -> None:
    """A process may own several accounts; one tick serves both, each in its nonce order."""
    history = await begin(accounts=(PAYER, RESERVE))
    items = await history.submit(
        *(
            new(f"{account} {n}", account=account, to=f"tb1{account}{n}")
            for n in range(3)
            for account in (PAYER, RESERVE)
        )
    )

    await history.finalized(items)

    for account in (PAYER, RESERVE):
        rows = [row.offer for row in history.node.ledger.transactions.values() if row.offer.sender == account]
        assert [offer.nonce for offer in rows] == [1, 2, 3]


async def test_a_frozen_account_does_not_stop_another(begin: Begin) -> None:
    """A person freezes one of two accounts: it sends nothing, the other pays."""
    history = await begin(accounts=(PAYER, RESERVE))
    await history.run(2)
    await history.desk.freeze(PAYER, by=ADA)
    frozen, free = await history.submit(new("frozen"), new("free", account=RESERVE, to="tb1bob"))

    await history.finalized([free])

    assert (history.paid("frozen"), history.paid("free")) == (0, 1)
    assert await history.desk.intents(frozen) == []


async def test_ten_times_the_window_is_paid_in_order(begin: Begin, evidence: Evidence) -> None:
    """N12: never more than sixteen nonces are in flight, and 60 payments are all made, once, in order."""
    history = await begin(evidence)
    items = await history.submit(*(new(f"pay {n}", to=f"tb1to{n}", amount=1_000_000) for n in range(60)))

    await history.finalized(items, seconds=200)

    assert [nonce for nonce, _, _ in history.mined()] == list(range(1, 61))
    assert all(history.paid(f"pay {n}") == 1 for n in range(60))
    assert history.node.ledger.rejections.get("PendingLimitReached", 0) == 0
    booked, shown = await history.books()
    assert booked == shown == history.balance(PAYER)


def test_the_rules_of_these_histories_are_sane() -> None:
    """The amounts stand clear of the fee's doubt, else balances would decide nothing."""
    rules: Rules = RULES
    assert 2 * rules.fee_uncertainty_max < AMOUNT
    assert rules.fee_ceiling == BaseUnits(50_000)


async def test_a_row_changed_by_hand_pays_nobody_and_stops_no_other(begin: Begin, evidence: Evidence) -> None:
    """D9, D39: an approved item whose destination was rewritten in the database is held alone, visibly."""
    history = await begin(evidence)
    await history.run(3)
    tampered, honest = await history.submit(
        new("rent", amount=AMOUNT), new("power", to="tb1power", amount=AMOUNT)
    )
    history.forged = True
    rewrite = "UPDATE disbursement SET destination = 'tb1thief' WHERE id = ?"
    await history.sql.write(lambda connection: connection.execute(rewrite, (tampered,)))

    await history.finalized([honest])

    item = await history.item(tampered)
    assert (item.hold, item.live_intent) == (Hold.APPROVAL_LOST, None)
    assert "digest" in item.hold_detail
    assert history.balance("tb1thief") == 0
