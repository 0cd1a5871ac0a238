"""Look-up is lost while the daemon runs (protocol.md §5.1): what was sent under it, and what is sent after it."""

from dataclasses import replace

from tests.histories.conftest import Begin
from tests.world import ADA, PAYER, History, new

from treasuryd.core.events import EventKind
from treasuryd.core.model import AccountState, DisbursementId, Evidence, State, Status
from treasuryd.core.settling import LOOKUP_PATIENCE

PATIENCE = LOOKUP_PATIENCE * 3  # blocks: the finality depth of these histories is 3


def look_up(history: History, *, on: bool) -> None:
    """The node has look-up, or has it no more; the adapter finds out by asking."""
    for node in history.nodes.values():
        node.switches.abilities = replace(node.switches.abilities, tx_status=on)
    if on:  # it is probed for again once in a while; this is that while
        for endpoint in history.chain._nodes:
            endpoint.lose(tx_status=True)


async def out(begin: Begin) -> tuple[History, DisbursementId]:
    """A payment that was sent under look-up, still in the pool; then look-up goes."""
    history = await begin(Evidence.HASH)
    await history.run(2)
    (item,) = await history.submit(new("rent"))
    await history.step(blocks=0)
    assert history.pooled() == [1]
    look_up(history, on=False)
    return history, item


async def state(history: History, item: DisbursementId) -> State:
    return (await history.intent(item)).state


async def test_what_was_sent_under_look_up_waits_for_it_and_is_found_by_it(begin: Begin) -> None:
    """In a block while nobody can look it up: no verdict, no second sending that counts; look-up returns and says it."""
    history, item = await out(begin)

    await history.run(PATIENCE - 2)
    assert history.chain.evidence is Evidence.BALANCE
    assert await state(history, item) is State.BROADCAST
    assert history.events(EventKind.LOOKUP_MISSING)
    look_up(history, on=True)
    await history.finalized([item])

    assert history.paid("rent") == 1
    assert (await history.item(item)).evidence is Evidence.HASH


async def test_when_look_up_stays_away_a_person_judges(begin: Begin) -> None:
    """After four times the finality depth it is ambiguous and held; the account works on, what is new goes by balances."""
    history, item = await out(begin)
    await history.run(PATIENCE + 4)

    assert await state(history, item) is State.AMBIGUOUS
    assert (await history.account()).state is AccountState.ACTIVE
    (later,) = await history.submit(new("later", to="tb1bob"))
    await history.finalized([later])

    assert (await history.item(later)).evidence is Evidence.BALANCE
    assert (history.paid("rent"), history.paid("later")) == (1, 1)
    assert await history.status(item) is Status.TIMELOCKED
    believed = (await history.desk.chain_state()).believed
    await history.desk.resolve([item], paid=True, by=ADA, believed=believed)
    await history.finalized([item])
    booked, shown = await history.books()
    assert booked == shown == history.balance(PAYER)


async def test_what_was_not_in_a_block_yet_is_proved_by_balances(begin: Begin) -> None:
    """The pool lost it before its block: its destination stands in the baseline when the same bytes go again."""
    history, item = await out(begin)
    history.node.ledger.lose_pool()
    await (
        history.crash()
    )  # asked anew, the node says that it has none; else that is found at the first look-up
    await history.run(4)

    await history.finalized([item])

    assert history.paid("rent") == 1
    assert (await history.item(item)).evidence is Evidence.BALANCE


async def test_a_restart_without_look_up_goes_on_the_same(begin: Begin) -> None:
    """A process that never knew look-up takes over what was sent under it: nothing is proved by too little."""
    history, item = await out(begin)
    await history.crash()
    await history.run(PATIENCE + 6)

    assert await state(history, item) is State.AMBIGUOUS
    assert history.paid("rent") == 1
