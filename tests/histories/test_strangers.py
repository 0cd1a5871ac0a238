"""Histories in which somebody else's key, money or lie is at work (protocol.md §5.1, R9, R14, R16)."""

from dataclasses import replace

import pytest
from tests.histories.conftest import Begin
from tests.matrix import Row
from tests.world import ADA, AMOUNT, PAYER, RULES, History, new

from treasuryd.core.events import EventKind, Severity
from treasuryd.core.model import (
    AccountState,
    BreakerMode,
    BreakerOverride,
    CallClass,
    DisbursementId,
    Endpoint,
    Evidence,
    State,
    Status,
)
from treasuryd.devnet.faults import Wrong
from treasuryd.devnet.node import Node
from treasuryd.devnet.server import build_node
from treasuryd.errors import Transient

FEES = [1_067, 30_000]


async def stolen(
    history: History,
    *,
    amount: int = 0,
    fee: int = 1_000,
    deposit: tuple[str, int] | None = None,
) -> DisbursementId:
    """Bring a payment into the pool and let a stranger's spend take its nonce in the next block."""
    await history.run(2)
    (item,) = await history.submit(new("rent"))
    await history.step(blocks=0)
    await history.step(blocks=0)
    assert (await history.intent(item)).state is State.BROADCAST
    ledger = history.node.ledger
    if deposit is not None:
        ledger.deposit(*deposit)
    ledger.foreign_spend(PAYER, to="tb1thief", amount=amount, fee=fee)
    await history.run(12)
    assert history.paid("rent") == 0
    return item


async def unpaid(history: History, item: DisbursementId) -> bool:
    """Nothing says that it was paid."""
    found = await history.item(item)
    return found.status is Status.TIMELOCKED and (await history.intent(item)).winner is None


@pytest.mark.matrix(Row.STRANGER)
@pytest.mark.parametrize("fee", FEES)
async def test_a_foreign_zero_value_spend_is_not_our_payment(
    begin: Begin, evidence: Evidence, fee: int
) -> None:
    """N8: a stranger burns our nonce at whatever fee; the account freezes and pages, nothing counts as paid."""
    history = await begin(evidence)

    item = await stolen(history, fee=fee)

    assert await unpaid(history, item)
    assert (await history.account()).state is AccountState.FROZEN
    assert history.events(EventKind.ACCOUNT_FROZEN)


@pytest.mark.matrix(Row.STRANGER)
@pytest.mark.parametrize("fee", FEES)
async def test_a_foreign_spend_with_income_of_the_destination_is_not_our_payment(
    begin: Begin, evidence: Evidence, fee: int
) -> None:
    """N8: the destination gets exactly our amount from elsewhere while a zero-value spend takes the nonce."""
    history = await begin(evidence)

    item = await stolen(history, fee=fee, deposit=("tb1alice", AMOUNT))

    assert await unpaid(history, item)
    if evidence is Evidence.HASH:
        assert (await history.account()).state is AccountState.FROZEN
    else:
        assert (await history.intent(item)).state is State.AMBIGUOUS


@pytest.mark.matrix(Row.STRANGER)
async def test_a_foreign_spend_with_a_deposit_of_our_amount_is_not_our_payment(
    begin: Begin, evidence: Evidence
) -> None:
    """N8: a deposit of our amount into the paying account hides the theft's size, and proves nothing."""
    history = await begin(evidence)

    item = await stolen(history, amount=AMOUNT, deposit=(PAYER, AMOUNT))

    assert await unpaid(history, item)


@pytest.mark.matrix(Row.STRANGER)
async def test_a_theft_of_exactly_our_amount_is_not_our_payment(begin: Begin, evidence: Evidence) -> None:
    """N8: the balance fell as if we had paid, but the destination did not rise."""
    history = await begin(evidence)

    item = await stolen(history, amount=AMOUNT, fee=1_067)

    assert await unpaid(history, item)
    assert (await history.account()).state is AccountState.FROZEN


async def test_the_residual_risk_is_as_stated(begin: Begin) -> None:
    """§5.1: without look-up a theft of our amount with equal income of the destination passes for our payment."""
    history = await begin(Evidence.BALANCE)

    item = await stolen(history, amount=AMOUNT, fee=1_067, deposit=("tb1alice", AMOUNT))

    assert await history.status(item) in {Status.EXECUTED, Status.FINALIZED}
    assert (await history.item(item)).evidence is Evidence.BALANCE


@pytest.mark.matrix(Row.STRANGER)
async def test_look_up_removes_the_residual_risk(begin: Begin) -> None:
    """§5.1: the same theft under look-up is seen for what it is."""
    history = await begin(Evidence.HASH)

    item = await stolen(history, amount=AMOUNT, fee=1_067, deposit=("tb1alice", AMOUNT))

    assert await unpaid(history, item)
    assert (await history.account()).state is AccountState.FROZEN


@pytest.mark.matrix(Row.STRANGER)
async def test_a_stolen_payment_is_void_only_at_finality(begin: Begin) -> None:
    """R5: with look-up a nonce burned by a stranger voids our intent at depth; its item needs a person."""
    history = await begin(Evidence.HASH)
    item = await stolen(history)

    assert (await history.intent(item)).state is State.VOID
    assert (await history.item(item)).hold == "needs_release"


@pytest.mark.matrix(Row.CRASH_AFTER_FREEZE)
async def test_a_frozen_account_sends_nothing(begin: Begin, evidence: Evidence) -> None:
    """D31, R14: frozen at first sight; what is submitted after it is neither staged nor sent, across a restart too."""
    history = await begin(evidence)
    await stolen(history)
    (later,) = await history.submit(new("later", to="tb1bob"))
    sends = history.transport.methods.count("submit_tx")

    await history.run(5)
    await history.crash()
    await history.run(15)

    assert await history.desk.intents(later) == []
    assert history.transport.methods.count("submit_tx") == sends


@pytest.mark.matrix(Row.STRANGER)
async def test_the_tick_that_finds_a_stranger_begins_and_sends_nothing_of_the_account(
    begin: Begin, evidence: Evidence
) -> None:
    """§4.3, R14: settled first, and decided from what was settled: what was payable or sealed by then stays here."""
    history = await begin(evidence)
    await history.run(2)
    shut = BreakerOverride(
        endpoint=Endpoint("node-0"), call_class=CallClass.SEND, mode=BreakerMode.FORCED_OPEN, reason="test"
    )
    history.chain.force([shut])
    items = await history.submit(new("rent"), new("wages", to="tb1bob"))
    for _ in range(3):
        await history.step(blocks=0)
    assert {(await history.intent(item)).state for item in items} == {State.SIGNED}
    history.fuse.watch = _no_quote
    await history.submit(new("later", to="tb1carol"))
    for _ in range(2):
        await history.step(blocks=0)  # timelocked; without a price it waits

    history.fuse.watch = lambda _name, _after: None
    history.fuse.calls.clear()
    history.chain.force([replace(shut, mode=BreakerMode.AUTO)])
    history.node.ledger.foreign_spend(PAYER, to="tb1thief", amount=5, fee=1_000)
    await history.run(3)

    assert (await history.account()).state is AccountState.FROZEN
    assert not {"signer.vet", "store.stage", "signer.sign", "chain.broadcast"} & set(history.fuse.calls)
    assert history.pooled() == []


def _no_quote(name: str, after: bool) -> None:
    if name == "chain.quote" and not after:
        raise Transient("no answer")


@pytest.mark.matrix(Row.STRANGER)
async def test_a_foreign_nonce_of_an_idle_account_freezes_it(begin: Begin, evidence: Evidence) -> None:
    """N8: a spend under a nonce that we never staged is not ours."""
    history = await begin(evidence)
    await history.run(3)
    history.node.ledger.foreign_spend(PAYER, to="tb1thief", amount=5, fee=1_000)

    await history.run(2)

    account = await history.account()
    assert (account.state, account.cause) == (AccountState.FROZEN, "foreign_nonce")


@pytest.mark.matrix(Row.SMALL_DEPOSIT)
@pytest.mark.parametrize("dust", [1, 900])
async def test_dust_neither_hides_a_payment_nor_freezes(begin: Begin, evidence: Evidence, dust: int) -> None:
    """N7: small deposits to both sides in the interval of a payment; it is included, the rest is funding."""
    history = await begin(evidence)
    await history.run(2)
    (item,) = await history.submit(new("rent"))
    await history.step(blocks=0)
    history.node.ledger.deposit(PAYER, dust)
    history.node.ledger.deposit("tb1alice", dust)

    await history.finalized([item])

    assert (await history.account()).state is AccountState.ACTIVE
    booked, shown = await history.books()
    assert booked == shown == history.balance(PAYER)


async def test_an_unexplained_rise_is_funding(begin: Begin, evidence: Evidence) -> None:
    """N7: anybody may deposit; it is booked and freezes nothing."""
    history = await begin(evidence)
    await history.run(2)
    history.node.ledger.deposit(PAYER, 12_345)
    await history.run(3)

    assert (await history.account()).state is AccountState.ACTIVE
    booked, shown = await history.books()
    assert booked == shown == history.balance(PAYER)


async def test_a_fall_that_nothing_explains_freezes(begin: Begin, evidence: Evidence) -> None:
    """D23: books and chain meet at every tick; money that is gone without a nonce of ours freezes the account."""
    history = await begin(evidence)
    (item,) = await history.submit(new("rent"))
    await history.finalized([item])
    history.node.ledger.accounts[PAYER].balance -= 700

    await history.run(2)

    account = await history.account()
    assert (account.state, account.cause) == (AccountState.FROZEN, "unexplained_fall")
    booked, shown = await history.books()
    assert booked == shown == history.balance(PAYER)


async def test_a_fall_while_a_person_has_frozen_pages_and_is_the_cause(
    begin: Begin, evidence: Evidence
) -> None:
    """R14: whoever thaws after a drill finds what happened meanwhile, once, and was paged for it."""
    history = await begin(evidence)
    (item,) = await history.submit(new("rent"))
    await history.finalized([item])
    await history.desk.freeze(PAYER, by=ADA)
    history.node.ledger.accounts[PAYER].balance -= 700

    await history.run(4)

    account = await history.account()
    assert (account.state, account.cause) == (AccountState.FROZEN, "unexplained_fall")
    pages = [one for one in history.events(EventKind.ACCOUNT_FROZEN) if one.severity is Severity.PAGE]
    assert [page.reason for page in pages] == ["unexplained_fall"]
    booked, shown = await history.books()
    assert booked == shown == history.balance(PAYER)


@pytest.mark.matrix(Row.ABSURD_HEAD)
async def test_one_absurd_height_hastens_nothing(begin: Begin, evidence: Evidence) -> None:
    """R16: a head beyond belief moves no settled epoch, pays nothing early, and heals by itself."""
    history = await begin(evidence)
    (item,) = await history.submit(new("later", scheduled=3))
    await history.run(5)
    history.node.switches.absurd_index = 10_000_000
    for _ in range(3):
        await history.step()
        assert (await history.desk.chain_state()).settled <= 1
    history.node.switches.absurd_index = None
    assert await history.desk.intents(item) == []
    assert history.events(EventKind.HEAD_NOT_BELIEVED)

    await history.finalized([item])

    executed = (await history.item(item)).executed_height
    assert executed is not None
    assert executed >= 3 * history.rules.epoch_blocks


@pytest.mark.matrix(Row.ABSURD_HEAD)
@pytest.mark.parametrize(("step", "most"), [(0.0, 10 * 2), (-3_600.0, 0), (86_400.0, 10_000)])
async def test_across_a_restart_a_head_is_believed_by_the_wall_clock(
    begin: Begin, evidence: Evidence, step: float, most: int
) -> None:
    """R16: ten seconds were down time, by the wall clock: so many blocks at most; set back, none but the spare."""
    history = await begin(evidence, rules=replace(RULES, max_blocks_per_second=2.0))
    await history.run(5)
    before = (await history.desk.chain_state()).believed
    history.clock.now += 10.0
    history.clock.wall_step = step
    history.node.switches.absurd_index = before + 10_000

    await history.crash()
    await history.tick()

    believed = (await history.desk.chain_state()).believed - before
    assert believed <= most + RULES.finality_depth
    assert believed >= min(most, 1)
    history.node.switches.absurd_index = None


@pytest.mark.matrix(Row.ABSURD_HEAD)
async def test_a_lagging_node_is_no_reorg(begin: Begin, evidence: Evidence) -> None:
    """R9: lower heights under unchanged headers are lag: nothing is taken back and nothing freezes."""
    history = await begin(evidence)
    (item,) = await history.submit(new("rent"))
    await history.until(lambda: _executed(history, item))
    history.node.switches.lag = 4

    await history.run(3, blocks=0)
    assert await history.status(item) is not Status.TIMELOCKED
    await history.run(6)
    history.node.switches.lag = 0
    await history.finalized([item])

    assert history.events(EventKind.REORGED_CHAIN) == []
    assert history.events(EventKind.REORGED) == []
    assert (await history.account()).state is AccountState.ACTIVE


async def _executed(history: History, item: DisbursementId) -> bool:
    return await history.status(item) is Status.EXECUTED


async def test_a_lie_of_the_look_up_decides_nothing(begin: Begin) -> None:
    """R9: a look-up that names a block on no chain is not believed; the payment is included when it tells the truth."""
    history = await begin(Evidence.HASH)
    history.node.faults.add(Wrong.WRONG_BLOCK, times=3)
    (item,) = await history.submit(new("rent"))

    await history.finalized([item])

    assert history.paid("rent") == 1


async def test_a_reorg_deeper_than_finality_freezes(begin: Begin, evidence: Evidence) -> None:
    """R9: it takes back what counted as final: everything stops and a person is called."""
    history = await begin(evidence)
    (item,) = await history.submit(new("rent"))
    await history.finalized([item])
    history.clock.now += 1.0
    history.node.ledger.reorg(history.rules.finality_depth + 3, now=history.clock.now)

    await history.tick()
    await history.run(3)

    account = await history.account()
    assert (account.state, account.cause) == (AccountState.FROZEN, "deep_reorg")


@pytest.mark.matrix(Row.WRONG_CHAIN)
async def test_another_chain_freezes_and_moves_nothing(begin: Begin, evidence: Evidence) -> None:
    """R15: another header 0 freezes all accounts; no epoch is counted on it and nothing is sent there."""
    history = await begin(evidence)
    await history.run(8)
    before = await history.desk.chain_state()
    assert before.genesis is not None
    history.transport.nodes = dict.fromkeys(history.urls, _other_chain(history))
    (item,) = await history.submit(new("rent"))

    await history.run(40)

    account = await history.account()
    assert (account.state, account.cause) == (AccountState.FROZEN, "wrong_chain")
    after = await history.desk.chain_state()
    assert (after.settled, after.genesis) == (before.settled, before.genesis)
    assert await history.desk.intents(item) == []


def _other_chain(history: History) -> Node:
    node = build_node(replace(history.config, seed=99), None, now=lambda: history.clock.now)
    for _ in range(200):
        node.ledger.mine(now=history.clock.now)
    return node
