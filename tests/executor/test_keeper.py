"""Leases as the keeper keeps them: claimed, renewed, lost, given back, and never by anybody's wall clock."""

from dataclasses import replace
from typing import Any, cast

import anyio
import pytest
from tests.executor.conftest import Begin
from tests.world import PAYER, RESERVE, RULES, TIMING, Fused, History, new

from treasuryd.commands import control
from treasuryd.commands.fields import Person
from treasuryd.commands.office import Office
from treasuryd.core.events import EventKind
from treasuryd.core.model import (
    AccountState,
    BreakerMode,
    BreakerOverride,
    CallClass,
    Endpoint,
    Held,
    Incarnation,
    Owner,
)
from treasuryd.errors import Corrupt, Rejected, Transient
from treasuryd.executor.keeper import Keeper
from treasuryd.executor.mind import Mind


def candidate(history: History, *, name: str = "tester", alone: bool = False, folder: str = "g") -> Keeper:
    """A second process on the same store: by default of the same name, and in another folder."""
    mind = Mind(clock=history.clock, poll_seconds=5.0, fed_boot=history.clock.boot_seconds())
    return Keeper(
        world=history.world,
        mind=mind,
        owner=Owner(holder=name, incarnation=Incarnation("c" * 32), machine="m", folder=folder),
        accounts=history.accounts,
        timing=TIMING,
        alone=lambda: alone,
    )


async def test_two_starts_of_one_name_do_not_share_a_lease(begin: Begin) -> None:
    """D14: identity is the incarnation: the second start of the same name is a candidate while the first renews."""
    history = await begin()
    second = candidate(history)
    for _ in range(20):
        history.clock.now += TIMING.renew_seconds
        await history.keeper.beat()
        await second.beat()
        assert set(history.mind.leads()) == {PAYER}
        assert second.mind.leads() == {}


async def test_a_silent_holder_is_followed_after_the_candidate_wait(begin: Begin) -> None:
    """§6.1: (term, beat) unchanged for the candidate wait by the candidate's own clock, and not a second earlier."""
    history = await begin()
    second = candidate(history)
    await second.beat()
    history.clock.now += TIMING.candidate_wait_seconds - 0.1
    await second.beat()
    assert second.mind.leads() == {}
    history.clock.now += 0.2
    await second.beat()
    assert second.mind.leads()[PAYER].term == 2
    await history.keeper.beat()
    assert history.mind.held.leases == {}
    assert [event.account for event in history.events(EventKind.LEASE_LOST)] == [PAYER]


@pytest.mark.parametrize("step", [3_600.0, -3_600.0, 86_400.0, -86_400.0])
async def test_steps_of_the_wall_clock_change_no_holder(begin: Begin, step: float) -> None:
    """D15: nobody's wall clock is compared."""
    history = await begin()
    second = candidate(history)
    await second.beat()
    history.clock.wall_step = step
    for _ in range(5):
        history.clock.now += TIMING.renew_seconds
        await history.keeper.beat()
        await second.beat()
    assert set(history.mind.leads()) == {PAYER}
    assert second.mind.leads() == {}


async def test_a_killed_predecessor_in_our_folder_is_followed_at_once(begin: Begin) -> None:
    """D14, §6.6: whoever holds the folder's lock knows that its holder is dead; without the lock he waits."""
    history = await begin()
    waiting = candidate(history, folder="f", alone=False)
    await waiting.beat()
    assert waiting.mind.leads() == {}
    heir = candidate(history, folder="f", alone=True)
    await heir.beat()
    assert heir.mind.leads()[PAYER].term == 2


async def test_a_holder_that_was_stopped_does_not_take_its_living_heir_for_dead(begin: Begin) -> None:
    """§6.6: SIGSTOP in a shared folder: the heir leads without the lock, and the holder wakes up with it."""
    history = await begin()
    heir = candidate(history, folder="f", alone=False)
    await heir.beat()
    history.clock.now += TIMING.candidate_wait_seconds + 0.1
    await heir.beat()
    assert heir.mind.leads()[PAYER].term == 2
    for _ in range(10):
        await history.keeper.beat()
        await heir.beat()
        assert history.mind.leads() == {}
        assert heir.mind.leads()[PAYER].term == 2
        history.clock.now += TIMING.renew_seconds


async def test_a_claim_counts_from_before_it_was_sent(begin: Begin) -> None:
    """§6.2 holds for a claim too: somebody else may take the lease a TTL after the store heard of it."""
    history = await begin()
    await history.keeper.yield_all()

    def slow(name: str, after: bool) -> None:
        if name == "store.claim" and after:
            history.clock.now += 4.0

    history.fuse.watch = slow
    asked = history.clock.boot_seconds()
    await history.keeper.beat()
    assert history.mind.held.until == asked + TIMING.renew_deadline_seconds


async def test_a_silence_is_counted_from_after_the_rows_were_read(begin: Begin) -> None:
    """§6.1: a reading that took long shows a row as it was at some time before its answer: never a longer silence."""
    history = await begin()
    second = candidate(history)

    def slow(name: str, after: bool) -> None:
        if name == "store.leases" and after:
            history.clock.now += 5.0

    history.fuse.watch = slow
    await second.beat()
    history.fuse.watch = lambda _name, _after: None
    history.clock.now += TIMING.candidate_wait_seconds - 2.0
    await second.beat()
    assert second.mind.leads() == {}


async def test_a_claim_goes_above_the_terms_that_the_signer_has_seen(begin: Begin) -> None:
    """§6.1: term = max(the store's, the signer's mark) + 1: an older store cannot lead under a term that was somebody's."""
    history = await begin()
    (item,) = await history.submit(new("rent"))
    await history.finalized([item])
    mark = (await history.signer.marks())[PAYER].term
    await history.sql.write(lambda connection: connection.execute("UPDATE lease SET term = 0, released = 1"))
    await history.crash()
    assert mark >= 1
    assert history.mind.held.leases[PAYER].term == mark + 1


async def test_it_renews_every_interval_and_goes_on_for_ever(begin: Begin) -> None:
    """§6: every `renew_seconds`, whatever the last beat came to."""
    history = await begin()
    waited: list[float] = []

    class Enough(Exception):
        """The test has seen enough."""

    async def sleep(seconds: float) -> None:
        waited.append(seconds)
        assert history.mind.leads()
        history.clock.now += seconds
        if len(waited) == 20:
            raise Enough

    history.clock.sleep = sleep  # type: ignore[method-assign]  # time passes, and ends
    with pytest.raises(Enough):
        await history.keeper.run()
    assert waited == [TIMING.renew_seconds] * 20
    assert history.mind.held.leases[PAYER].term == 1


async def test_a_clean_stop_hands_over_at_once(begin: Begin) -> None:
    """D14: released, so that the next one need not wait."""
    history = await begin()
    second = candidate(history)
    await history.keeper.yield_all()
    assert history.mind.held == Held()
    await second.beat()
    assert set(second.mind.leads()) == {PAYER}
    assert history.events(EventKind.LEASE_RELEASED)


async def test_validity_counts_from_before_the_renewal_was_sent(begin: Begin) -> None:
    """§6.2: however late its answer came."""
    history = await begin()

    def slow(name: str, after: bool) -> None:
        if name == "store.renew" and after:
            history.clock.now += 4.0

    history.fuse.watch = slow
    asked = history.clock.boot_seconds()
    await history.keeper.beat()
    assert history.mind.held.until == asked + TIMING.renew_deadline_seconds


async def test_one_lost_account_leaves_the_others(begin: Begin) -> None:
    """A renewal answers for each account: what is missing is lost, the rest is held on."""
    history = await begin(accounts=(PAYER, RESERVE))
    rival = candidate(history, folder="f", alone=True)
    rival.accounts = (RESERVE,)
    await rival.beat()
    history.keeper.accounts = (PAYER,)
    await history.keeper.beat()
    assert set(history.mind.leads()) == {PAYER}


async def test_what_a_tick_found_lost_stays_lost_after_a_renewal_under_way(begin: Begin) -> None:
    """A row came back fenced while the renewal was on its way: its answer brings nothing back."""
    history = await begin(accounts=(PAYER, RESERVE))

    def fenced(name: str, after: bool) -> None:
        if name == "store.renew" and after:
            kept = {PAYER: history.mind.held.leases[PAYER]}
            history.mind.held = replace(history.mind.held, leases=kept)

    history.keeper.accounts = (PAYER,)
    history.fuse.watch = fenced
    await history.keeper.beat()
    assert set(history.mind.held.leases) == {PAYER}


async def test_a_store_that_cannot_be_asked_is_asked_again(begin: Begin) -> None:
    """A locked file is no end: told, and the next beat renews; what is held runs out meanwhile."""
    history = await begin()

    def locked(name: str, after: bool) -> None:
        if name == "store.renew" and not after:
            raise Transient("database is locked")

    history.fuse.watch = locked
    history.clock.now += TIMING.renew_deadline_seconds
    await history.keeper.beat()
    assert history.mind.leads() == {}
    assert [event.reason for event in history.events(EventKind.CALL_FAILED)] == ["lease"]
    history.fuse.watch = lambda _name, _after: None
    await history.keeper.beat()
    assert set(history.mind.leads()) == {PAYER}


async def test_a_word_on_the_breakers_is_heeded_at_the_next_beat(begin: Begin) -> None:
    """§7: it may have been said to another process on this store; the renewal comes first."""
    history = await begin()
    word = BreakerOverride(
        endpoint=Endpoint("*"), call_class=CallClass.SEND, mode=BreakerMode.FORCED_OPEN, reason="a drill"
    )
    await history.desk.force_breaker(word)
    history.fuse.calls.clear()
    await history.keeper.beat()
    assert history.fuse.calls[:2] == ["store.renew", "desk.overrides"]
    modes = {report.call_class: report.mode for report in history.chain.breakers()}
    assert modes[CallClass.SEND] is BreakerMode.FORCED_OPEN


async def test_an_older_reading_does_not_lift_the_kill_switch_that_a_person_just_ordered(
    begin: Begin,
) -> None:
    """§7: a beat had read "no word" a moment before the order was stored; the order stands, in this process too."""
    history = await begin()
    office = Office(
        world=history.world, engine=history.mind, rules=RULES, accounts=history.accounts, chain_id=1
    )
    by = Person(who="edward", reason="a drill")

    async def order(mode: BreakerMode) -> None:
        await control.force_breaker(office, Endpoint("*"), CallClass.SEND, mode, by)

    await order(BreakerMode.AUTO)
    async with anyio.create_task_group() as people:

        class Slow(Fused):
            """Its answer to the beat stays on its way while a person orders."""

            async def overrides(self) -> list[BreakerOverride]:
                found = await history.desk.overrides()
                people.start_soon(order, BreakerMode.FORCED_OPEN)
                await anyio.wait_all_tasks_blocked()
                return list(found)

        slow = cast("Any", Slow(history.desk, history.fuse, "desk"))
        history.keeper.world = replace(history.world, desk=slow)
        await history.keeper.beat()
    modes = {report.call_class: report.mode for report in history.chain.breakers()}
    assert modes[CallClass.SEND] is BreakerMode.FORCED_OPEN


async def test_a_stopping_process_claims_nothing(begin: Begin) -> None:
    """§6.7: given back is given back."""
    history = await begin()
    history.mind.stopping = True
    await history.keeper.yield_all()
    await history.keeper.beat()
    assert history.mind.held.leases == {}
    second = candidate(history)
    await second.beat()
    assert set(second.mind.leads()) == {PAYER}


async def test_what_a_beat_claims_while_the_stop_comes_is_given_back(begin: Begin) -> None:
    """§6.7: the answer to a claim is on its way when the work has ended: released all the same."""
    history = await begin()
    await history.keeper.yield_all()
    may_answer = anyio.Event()

    class Slow(Fused):
        """Its claim is done, and not heard of yet."""

        async def claim(self, *args: Any, **kwargs: Any) -> Any:
            found = await history.store.claim(*args, **kwargs)
            await may_answer.wait()
            return found

    slow = cast("Any", Slow(history.store, history.fuse, "store"))
    history.keeper.world = replace(history.world, store=slow)
    async with anyio.create_task_group() as group:
        group.start_soon(history.keeper.beat)
        await anyio.wait_all_tasks_blocked()
        history.mind.stopping = True
        group.start_soon(history.keeper.yield_all)
        await anyio.wait_all_tasks_blocked()
        may_answer.set()
    assert history.mind.held == Held()
    (row,) = await history.store.leases([PAYER])
    assert (row.term, row.released) == (2, True)


async def test_a_storage_error_at_a_beat_ends_the_process(begin: Begin) -> None:
    """§7: fatal, wherever it is met: not told and tried again like a locked file."""
    history = await begin()

    def broken(name: str, after: bool) -> None:
        if name == "store.renew" and not after:
            raise Corrupt("disk I/O error")

    history.fuse.watch = broken
    with pytest.raises(Corrupt, match="disk"):
        await history.keeper.beat()


async def test_an_account_is_reconciled_before_its_lease_is_shown(begin: Begin) -> None:
    """R12: a store that knows less than its signer is older than the world: quarantined before the first tick."""
    history = await begin()
    (item,) = await history.submit(new("rent"))
    await history.finalized([item])
    forget = "UPDATE account SET high_water = 0, next_nonce = 1, state = 'active'"
    await history.sql.write(lambda connection: connection.execute(forget))

    await history.crash()

    account = await history.account()
    assert account.state is AccountState.QUARANTINED
    with pytest.raises(Rejected, match="quarantine"):  # intake is closed, too
        await history.submit(new("later"))


async def test_a_signer_that_forgot_pages(begin: Begin) -> None:
    """R11: it knows less than the store has sealed: told the marks, and a person is called."""
    history = await begin()
    (item,) = await history.submit(new("rent"))
    await history.finalized([item])
    await history.close()
    for path in history.folder.glob("ledger.db*"):
        path.unlink()

    await history.start()

    pages = [event for event in history.events(EventKind.TICK_FAILED) if event.reason == "signer_forgot"]
    assert [event.account for event in pages] == [PAYER]
    await history.submit(new("later", to="tb1bob"))
    await history.run(5)
    assert history.paid("later") == 0
    waits = [event for event in history.events(EventKind.TICK_FAILED) if event.reason == "signer_waits"]
    assert len(waits) == 1  # it rings once, not at every tick, and stays visible
    assert "imports the bindings first" in history.mind.vitals().signer_waits
