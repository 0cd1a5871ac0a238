"""What a tick may still do when leases change under its hands."""

from dataclasses import replace

import pytest
from tests.executor.conftest import Begin
from tests.world import PAYER, RESERVE, History, new

from treasuryd.core.events import Event, EventKind, Severity
from treasuryd.core.model import Nonce, NotWritten, State, Term
from treasuryd.errors import Fenced
from treasuryd.executor.grip import Grip


def grip(history: History) -> Grip:
    return Grip(world=history.world, mind=history.mind, began_with=history.mind.held)


async def test_only_what_is_still_held_under_the_same_term_is_held(begin: Begin) -> None:
    """R13: an account that was lost, or lost and claimed anew, is not this tick's any more."""
    history = await begin(accounts=(PAYER, RESERVE))
    hand = grip(history)
    assert set(hand.held().leases) == {PAYER, RESERVE}
    anew = replace(history.mind.held.leases[PAYER], term=Term(9))
    history.mind.held = replace(history.mind.held, leases={**history.mind.held.leases, PAYER: anew})
    assert set(hand.held().leases) == {RESERVE}
    assert hand.mine([PAYER, RESERVE], lambda account: account) == [RESERVE]
    history.mind.held = replace(history.mind.held, leases={PAYER: anew})
    with pytest.raises(Fenced):
        hand.held()


async def test_past_the_deadline_nothing_is_held(begin: Begin) -> None:
    """§6.3: a lease that could have passed to somebody else is none."""
    history = await begin()
    hand = grip(history)
    history.clock.now += 6.4
    assert hand.held().leases
    history.clock.now += 0.2
    with pytest.raises(Fenced):
        hand.held()


async def test_a_fenced_row_gives_its_account_up_and_no_other(begin: Begin) -> None:
    """R13: stop, do not retry; told once."""
    history = await begin(accounts=(PAYER, RESERVE))
    hand = grip(history)
    rows = [NotWritten(row=0, reason="fenced"), NotWritten(row=1, reason="changed")]
    hand.heed(rows, [PAYER, RESERVE])
    hand.heed(rows, [PAYER, RESERVE])
    assert set(history.mind.held.leases) == {RESERVE}
    assert [(event.account, event.reason) for event in history.events(EventKind.LEASE_LOST)] == [
        (PAYER, "fenced")
    ]


@pytest.mark.parametrize(
    ("verb", "state"),
    [
        pytest.param("store.stage", State.STAGED, id="staged a moment before, and not signed"),
        pytest.param("store.seal", State.SIGNED, id="sealed a moment before, and not sent"),
    ],
)
async def test_what_the_keeper_lost_in_the_middle_of_a_tick_goes_no_further(
    begin: Begin, verb: str, state: State
) -> None:
    """§4.1, §6.3: the rows of a lost account fall out alone, before each effect."""
    history = await begin(accounts=(PAYER, RESERVE))
    await history.run(3)
    lost, kept = await history.submit(new("lost"), new("kept", account=RESERVE, to="tb1bob"))

    def lose(name: str, after: bool) -> None:
        if name == verb and after:
            leases = {RESERVE: history.mind.held.leases[RESERVE]}
            history.mind.held = replace(history.mind.held, leases=leases)

    history.fuse.watch = lose
    await history.tick()

    assert (await history.intent(lost)).state is state
    bound = await history.signer.bindings(PAYER, first=Nonce(1), limit=10)
    assert bool(bound) is (state is State.SIGNED)
    assert (await history.intent(kept)).state is State.BROADCAST
    assert [row["from"] for row in _pool(history)] == [RESERVE]


def _pool(history: History) -> list[dict[str, str]]:
    return [{"from": offer.sender} for pool in history.node.ledger.pools for offer in pool]


async def test_a_chain_that_only_grew_is_no_work(begin: Begin) -> None:
    """What is written at DEBUG is told and does not count as progress."""
    history = await begin()
    hand = grip(history)
    hand.wrote([Event(kind=EventKind.CHAIN_MOVED, severity=Severity.DEBUG)])
    assert (hand.done, len(hand.events)) == (0, 1)
    hand.wrote([Event(kind=EventKind.INCLUDED, count=3)])
    assert (hand.done, len(hand.events)) == (3, 2)
