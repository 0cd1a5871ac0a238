"""What random histories found, each as the shortest history that shows it."""

from contextlib import suppress
from dataclasses import replace
from functools import partial

import pytest
from tests.histories.conftest import Begin
from tests.matrix import Row
from tests.world import ADA, AMOUNT, PAYER, RULES, Crash, History, new

from treasuryd.commands import control
from treasuryd.commands.fields import Person
from treasuryd.commands.office import Office
from treasuryd.core.agreement import said
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
from treasuryd.devnet.ledger import Then
from treasuryd.devnet.node import Node
from treasuryd.errors import Rejected


async def test_a_kill_switch_lifted_through_another_process_is_heard(
    begin: Begin, evidence: Evidence
) -> None:
    """§7: people spoke to another process on the same store; this one hears it at its next beat, not at a restart."""
    history = await begin(evidence)
    word = BreakerOverride(
        endpoint=Endpoint("*"), call_class=CallClass.SEND, mode=BreakerMode.FORCED_OPEN, reason="a drill"
    )
    await history.desk.force_breaker(word)
    await history.run(2)
    assert {row.mode for row in history.chain.breakers() if row.call_class is CallClass.SEND} == {
        BreakerMode.FORCED_OPEN
    }
    (item,) = await history.submit(new("rent"))
    await history.desk.force_breaker(replace(word, mode=BreakerMode.AUTO))

    await history.finalized([item])

    assert history.paid("rent") == 1


async def test_what_left_before_the_wall_clock_was_set_back_goes_again(
    begin: Begin, evidence: Evidence
) -> None:
    """R3: `last sent` lies a day ahead, and the pool was lost: the same bytes go again all the same."""
    history = await begin(evidence)
    (item,) = await history.submit(new("rent"))
    await history.until(lambda: _in(history, item, State.BROADCAST), blocks=0)
    history.node.ledger.lose_pool()
    history.clock.wall_step = -86_400.0

    await history.finalized([item])

    assert history.paid("rent") == 1


async def _in(history: History, item: DisbursementId, state: State) -> bool:
    intents = await history.desk.intents(item)
    return bool(intents) and intents[-1].state is state


async def test_an_endpoint_that_lost_its_index_makes_no_payment_void(begin: Begin) -> None:
    """R5: "not found" proves nothing, however often, while our balance fell by the amount: a person judges."""
    history = await begin(Evidence.HASH)
    await history.run(2)
    (item,) = await history.submit(new("rent"))
    await history.step(blocks=0)
    await history.step(blocks=0)
    history.node.faults.add(Wrong.UNKNOWN_TX, times=None)

    await history.run(12)

    assert history.paid("rent") == 1
    assert (await history.intent(item)).state is State.AMBIGUOUS
    history.node.faults.clear()
    believed = (await history.desk.chain_state()).believed
    await history.desk.resolve([item], paid=True, by=ADA, believed=believed)
    assert await history.status(item) is Status.EXECUTED
    booked, shown = await history.books()
    assert booked == shown == history.balance(PAYER)


async def test_a_deposit_does_not_hide_a_payment_that_nobody_knows(begin: Begin) -> None:
    """R5: our balance rose, whatever was paid out of it: "not found" makes nothing void."""
    history = await begin(Evidence.HASH)
    await history.run(2)
    (item,) = await history.submit(new("rent"))
    await history.step(blocks=0)
    await history.step(blocks=0)
    history.node.faults.add(Wrong.UNKNOWN_TX, times=None)
    history.node.ledger.deposit(PAYER, 3 * AMOUNT)

    await history.run(12)

    assert history.paid("rent") == 1
    assert (await history.intent(item)).state is State.AMBIGUOUS


@pytest.mark.parametrize("endpoints", [2, 3])
async def test_what_one_endpoint_does_not_find_is_looked_up_at_the_others(
    begin: Begin, endpoints: int
) -> None:
    """R5, R9: on one chain the first has lost its index. Two others are enough; one waits, and says what for."""
    history = await begin(Evidence.HASH)
    for place in range(1, endpoints):
        history.urls.append(f"http://node-{place}")
        history.nodes[history.urls[-1]] = Node(history.config, history.node.ledger, lambda: history.clock.now)
    await history.crash()
    history.node.faults.add(Wrong.UNKNOWN_TX, times=None)
    (item,) = await history.submit(new("rent"))

    if endpoints == 2:
        await history.run(140)  # the nodes mine on the one chain
        assert (await history.intent(item)).state is State.BROADCAST
        (page,) = history.events(EventKind.ENDPOINTS_DIFFER)
        assert (page.severity, page.reason) == (Severity.PAGE, "disputed")
        assert f"show intent {(await history.intent(item)).id} in the block" in page.detail
        history.node.faults.clear()
    await history.finalized([item])

    assert history.paid("rent") == 1
    assert (await history.account()).state is AccountState.ACTIVE
    assert said(history.mind.agreement, history.rules) == ""


@pytest.mark.matrix(Row.STRANGER, Row.THAWED)
async def test_a_nonce_stolen_between_staging_and_signing_blocks_nothing(
    begin: Begin, evidence: Evidence
) -> None:
    """R5 c: the signer never heard of the staged row and promises never to bind it; a person has looked, and it is paid."""
    history = await begin(evidence)
    await history.run(2)
    items = await history.submit(new("rent"), new("more", to="tb1bob"))
    history.fuse.at = "signer.sign"
    with suppress(Crash):
        await history.run(4)
    history.fuse.at = None
    assert (await history.intent(items[0])).state is State.STAGED
    history.node.ledger.foreign_spend(PAYER, to="tb1thief", amount=0, fee=1_067)
    history.mine()
    await history.crash()
    await history.run(12)
    assert (await history.account()).state is AccountState.FROZEN
    assert [(await history.intent(item)).state for item in items] == [State.VOID, State.VOID]
    await control.thaw(_office(history), PAYER, Person(who="ada", reason="the key was changed"))
    # §8: under a machine that was rolled back it would be our own payment that consumed the nonce
    assert [(await history.item(item)).hold for item in items] == ["needs_release", None]
    await history.desk.release(items[:1], by=ADA)

    await history.finalized(items)

    assert [history.paid("rent"), history.paid("more")] == [1, 1]
    assert [nonce for nonce, _, _ in history.mined()] == [1, 2, 3]


def _office(history: History) -> Office:
    return Office(
        world=history.world,
        engine=history.mind,
        rules=history.rules,
        accounts=history.accounts,
        chain_id=1,
    )


async def test_books_follow_when_the_first_frame_of_an_account_leaves_the_chain(begin: Begin) -> None:
    """R9, §5.1: nothing kept is left; what a person then judges paid is booked once, and books equal the chain."""
    history = await begin(Evidence.BALANCE)
    (item,) = await history.submit(new("rent"))
    await history.step(blocks=0)
    await history.step(blocks=0)
    history.clock.now += 1.0
    history.node.ledger.reorg(1, now=history.clock.now, then=Then.AGAIN, blocks=1)
    await history.tick()
    await history.step(blocks=0)  # the frame that shows it consumed has the height of the baseline
    await history.run(12)
    believed = (await history.desk.chain_state()).believed
    await history.desk.resolve([item], paid=True, by=ADA, believed=believed)

    assert history.paid("rent") == 1
    assert await history.status(item) is Status.EXECUTED
    booked, shown = await history.books()
    assert booked == shown == history.balance(PAYER)


async def test_a_late_look_up_stays_booked_when_a_later_block_leaves(begin: Begin) -> None:
    """R9: its correction stands at the height of what it corrects, and is not taken back without it."""
    history = await begin(Evidence.HASH)
    await history.run(4)
    (item,) = await history.submit(new("rent"))
    await history.step(blocks=0)
    await history.step(blocks=0)
    history.node.faults.add(Wrong.UNKNOWN_TX, times=1)
    await history.step()
    assert (await history.account()).state is AccountState.FROZEN
    await history.step()
    assert await history.status(item) is Status.EXECUTED
    history.clock.now += 1.0
    history.node.ledger.reorg(1, now=history.clock.now)
    await history.tick()

    await history.finalized([item])

    booked, shown = await history.books()
    assert booked == shown == history.balance(PAYER)


async def test_balances_ahead_of_their_header_do_not_stop_an_account_for_ever(begin: Begin) -> None:
    """R9: headers lag, balances do not, and what they showed leaves the chain: after k blocks the verdict is withdrawn."""
    history = await begin(Evidence.BALANCE)
    await history.run(6)
    (item,) = await history.submit(new("rent"))
    await history.step(blocks=0)
    await history.step(blocks=0)
    history.node.switches.absurd_index = history.node.ledger.height - 1
    await history.step()
    assert await history.status(item) is Status.EXECUTED
    history.node.ledger.reorg(1, now=history.clock.now, then=Then.NEVER)
    history.node.switches.absurd_index = None

    await history.finalized([item])

    assert history.paid("rent") == 1
    booked, shown = await history.books()
    assert booked == shown == history.balance(PAYER)


@pytest.mark.matrix(Row.THAWED)
async def test_thawing_waits_for_the_lower_of_two_foreign_nonces_too(
    begin: Begin, evidence: Evidence
) -> None:
    """R14: the higher one left the chain, the lower one is consumed and not burned: else nothing is staged any more."""
    history = await begin(evidence)
    await history.run(2)
    for _ in range(2):
        history.node.ledger.foreign_spend(PAYER, to="tb1thief", amount=0, fee=1_067)
        await history.step()
    history.clock.now += 1.0
    history.node.ledger.reorg(1, now=history.clock.now, then=Then.NEVER, blocks=1)
    await history.tick()
    await history.step()
    ada = Person(who="ada", reason="the key was changed")
    with pytest.raises(Rejected, match="the foreign nonce 1 is not burned yet"):
        await control.thaw(_office(history), PAYER, ada)
    (item,) = await history.submit(new("rent"))
    await history.run(4)
    await control.thaw(_office(history), PAYER, ada)

    await history.finalized([item])

    assert [nonce for nonce, _, _ in history.mined()] == [1, 2]


async def test_no_gap_stays_below_our_first_nonce(begin: Begin, evidence: Evidence) -> None:
    """R2: the count that an account is adopted at leaves the chain again: our first nonce follows on what is burned."""
    history = await begin(evidence)
    history.node.ledger.foreign_spend(PAYER, to="tb1before", amount=0, fee=1_067)
    history.mine()
    (item,) = await history.submit(new("rent"))
    await history.step(blocks=0)
    await history.step(blocks=0)
    assert await history.desk.intents(item) == []
    history.clock.now += 1.0
    history.node.ledger.reorg(1, now=history.clock.now, then=Then.NEVER, blocks=1)

    await history.finalized([item])

    assert [nonce for nonce, _, _ in history.mined()] == [1]
    booked, shown = await history.books()
    assert booked == shown == history.balance(PAYER)


async def test_an_account_that_was_used_before_goes_on_above_its_count(
    begin: Begin, evidence: Evidence
) -> None:
    """R2: once what was there is burned, and not before."""
    history = await begin(evidence)
    history.node.ledger.foreign_spend(PAYER, to="tb1before", amount=0, fee=1_067)
    history.mine()
    (item,) = await history.submit(new("rent"))
    await history.run(RULES.finality_depth)
    assert await history.desk.intents(item) == []

    await history.finalized([item])

    assert [nonce for nonce, _, _ in history.mined()] == [1, 2]


@pytest.mark.matrix(Row.RESTORED)
async def test_a_store_that_lost_a_cancel_is_quarantined(begin: Begin) -> None:
    """§8: the signer has seen nothing new, but the journal's copy has: what was cancelled after the backup is not paid."""
    history = await begin(Evidence.HASH)
    (item,) = await history.submit(new("rent", scheduled=1))
    for lost in ("", "the journal's copy goes on beyond this store", ""):
        history.keeper = replace(history.keeper, lost=partial(str, lost))
        await history.keeper.yield_all()
        await history.keeper.beat()

    await history.run(30)

    account = await history.account()
    assert (account.state, account.cause) == (AccountState.QUARANTINED, "taken_up")
    assert "goes on beyond this store" in account.detail
    assert history.paid("rent") == 0
    assert await history.desk.intents(item) == []


async def test_two_cancels_out_of_order_do_not_wait_for_each_other(begin: Begin, evidence: Evidence) -> None:
    """R7: the higher nonce has two payloads, the lower one never left and may not leave any more: it is replaced, too."""
    history = await begin(evidence)
    history.node.faults.add(Wrong.REFUSE, verdict="MempoolFull", times=None)
    first, lower, higher = await history.submit(*(new(f"pay {n}", to=f"tb1to{n}") for n in range(3)))
    await history.run(2)
    await history.cancel(higher)
    await history.run(2)
    await history.cancel(lower)
    history.node.faults.clear()

    await history.finalized([first])
    await history.run(30)

    assert [await history.status(item) for item in (lower, higher)] == [Status.ROLLED_BACK] * 2
    assert [history.paid(f"pay {n}") for n in range(3)] == [1, 0, 0]


async def test_what_was_ambiguous_and_left_the_chain_is_sent_again(begin: Begin) -> None:
    """R9: its nonce is not consumed any more: nobody can judge it, and the same bytes go out again."""
    history = await begin(Evidence.BALANCE)
    (item,) = await history.submit(new("rent"))
    await history.step(blocks=0)
    await history.step(blocks=0)
    for then in (Then.AGAIN, Then.NEVER):
        history.clock.now += 1.0
        history.node.ledger.reorg(1, now=history.clock.now, then=then, blocks=1)
        await history.tick()
        await history.step(blocks=0)
        if then is Then.AGAIN:
            assert (await history.intent(item)).state is State.AMBIGUOUS

    await history.finalized([item])

    assert history.paid("rent") == 1


async def test_a_wall_clock_set_back_does_not_make_the_ticker_spin(begin: Begin, evidence: Evidence) -> None:
    """R3: the head rose "in the future": what waits for a block is not sent in every tick until that day comes."""
    history = await begin(evidence)
    history.node.faults.add(Wrong.REFUSE, verdict="MempoolFull", times=None)
    (item,) = await history.submit(new("rent"))
    await history.run(2)
    history.clock.wall_step = -86_400.0
    await history.run(12, blocks=0)
    sends = history.transport.methods.count("submit_tx")
    await history.run(5, blocks=0)
    assert history.transport.methods.count("submit_tx") - sends <= 1
    history.node.faults.clear()

    await history.finalized([item])


@pytest.mark.matrix(Row.ABSURD_HEAD)
async def test_an_absurd_head_near_the_genesis_pins_no_header_that_may_go(
    begin: Begin, evidence: Evidence
) -> None:
    """R15, walk 40145: header 0 is pinned once a block stands at finality depth above it, not once somebody says so."""
    history = await begin(evidence)
    history.node.switches.absurd_index = 39
    await history.run(4, blocks=0)
    assert (await history.desk.chain_state()).believed == 40
    history.node.switches.absurd_index = None
    assert (await history.desk.chain_state()).genesis is None

    history.clock.now += 1.0
    history.node.ledger.reorg(2, now=history.clock.now)
    (item,) = await history.submit(new("rent"))
    await history.run(60)
    await history.finalized([item])

    assert (await history.account()).state is AccountState.ACTIVE
    assert (await history.desk.chain_state()).genesis == history.node.ledger.block_hash(0)


@pytest.mark.matrix(Row.ACCEPTED_NOT_RECORDED, Row.REORGED)
async def test_what_left_unrecorded_and_left_the_chain_again_is_sent(
    begin: Begin, evidence: Evidence
) -> None:
    """R3, R9: accepted, died before recording, included, reorged away: no sending stands in its row, and it goes out."""
    history = await begin(evidence)
    (item,) = await history.submit(new("rent"))
    sent: list[str] = []

    def dies(name: str, after: bool) -> None:
        sent.extend([name] * (after and name == "chain.broadcast"))
        if sent and name == "store.record":
            raise Crash(name)

    history.fuse.watch = dies
    with suppress(Crash):
        await history.run(4, blocks=0)
    assert history.pooled() == [1]
    history.fuse.watch = lambda _name, _after: None
    history.mine()
    await history.crash()
    await history.tick()
    assert await history.status(item) is Status.EXECUTED
    assert (await history.intent(item)).variants[0].sent_at is None
    history.clock.now += 1.0
    history.node.ledger.reorg(1, now=history.clock.now, then=Then.NEVER)

    await history.finalized([item])

    assert history.paid("rent") == 1
