"""The cadence: one tick at a time, told, noted, and never a busy loop."""

from dataclasses import replace

import anyio
import pytest
from tests.executor.conftest import Begin
from tests.world import History, new

from treasuryd.core.events import EventKind, Severity
from treasuryd.core.model import Held
from treasuryd.errors import Transient
from treasuryd.executor.loop import NOTE_SECONDS


async def test_a_standbys_look_counts(begin: Begin) -> None:
    """Without a lease nothing is read, and the tick age that health watches stays young."""
    history = await begin()
    await history.keeper.yield_all()
    history.fuse.calls.clear()
    history.clock.now += 100.0
    assert await history.ticker.once() is False
    assert history.fuse.calls == []
    assert history.mind.vitals().last_tick_age_seconds == 0.0
    assert history.mind.vitals().last_success_age_seconds is None


async def test_leases_that_ran_out_are_given_up_and_claimed_anew(begin: Begin) -> None:
    """§6.3: the loop noticed by itself, told it, and goes on under a new term."""
    history = await begin()
    before = next(iter(history.mind.held.leases.values())).term
    history.clock.now += 60.0
    assert await history.ticker.once() is False
    assert history.mind.held.leases == {}
    assert [event.reason for event in history.events(EventKind.LEASE_LOST)] == ["not_renewed"]
    await history.keeper.beat()
    assert next(iter(history.mind.held.leases.values())).term > before


async def test_one_line_per_tick_that_did_something(begin: Begin) -> None:
    """A tick that staged and sent is told as INFO with its counts; one that did nothing as DEBUG."""
    history = await begin()
    await history.run(3)
    await history.submit(new("rent"))
    history.seen.events.clear()
    await history.tick()
    lines = history.events(EventKind.TICKED)
    assert lines[-1].severity is Severity.INFO
    assert (lines[-1].fields["staged"], lines[-1].fields["sent"]) == (1, 1)
    await history.ticker.once()
    assert history.events(EventKind.TICKED)[-1].severity is Severity.DEBUG


async def test_the_snapshot_is_kept_at_most_once_in_a_while(begin: Begin) -> None:
    """A write costs a disk sync: an idle executor notes its tick every few seconds, not at each."""
    history = await begin()
    history.fuse.calls.clear()
    for _ in range(20):
        history.clock.now += NOTE_SECONDS / 4
        await history.keeper.beat()
        await history.ticker.once()
    assert 4 <= history.fuse.calls.count("store.note") <= 6
    assert (await history.desk.snapshot()).last_success_at is not None


async def test_the_snapshot_says_what_waits_and_what_was_sent(begin: Begin) -> None:
    """D35: last tick, last success, last error, pending, staged, last nonce: as of the last tick."""
    history = await begin()
    await history.run(3)
    history.node.ledger.pools[0].window.floor = 1_000
    await history.submit(new("dear"))
    await history.run(2)
    assert history.mind.snapshot.pending_matured == 1
    history.node.ledger.pools[0].window.floor = 0
    await history.run(15)
    assert history.mind.snapshot.last_submitted_nonce == 1
    failed = history.mind.snapshot.last_error_at
    assert failed is None


async def test_an_error_is_shown_until_the_next_success_and_its_time_is_kept(begin: Begin) -> None:
    """A snapshot that cannot be written (the file is locked) is no error of its own."""
    history = await begin()

    def cut(name: str, after: bool) -> None:
        if name in {"chain.heads", "store.note"} and not after:
            raise Transient("nobody answers")

    history.fuse.watch = cut
    history.clock.now += NOTE_SECONDS
    await history.keeper.beat()
    assert await history.ticker.once() is False
    assert "nobody answers" in (history.mind.snapshot.last_error or "")
    history.fuse.watch = lambda _name, _after: None
    await history.ticker.once()
    assert history.mind.snapshot.last_error is None
    assert history.mind.snapshot.last_error_at is not None


async def test_it_runs_until_stopped_between_two_ticks(begin: Begin) -> None:
    """A wake-up ends the rest; a stop is heeded between two ticks, never within one."""
    history = await begin()
    history.mind.poll_seconds = 3600.0
    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            group.start_soon(history.ticker.run)
            await anyio.wait_all_tasks_blocked()
            assert history.mind.task_alive
            ticks = len(history.events(EventKind.TICKED))
            history.mind.wake()
            await anyio.wait_all_tasks_blocked()
            assert len(history.events(EventKind.TICKED)) == ticks + 1
            history.mind.stopping = True
            history.mind.wake()
    assert not history.mind.task_alive


async def test_nobody_has_to_wake_it(begin: Begin) -> None:
    """§4.9: without a new head, without a submission, it looks again after the poll interval."""
    history = await begin()
    history.mind.poll_seconds = 0.0
    ticks = len(history.events(EventKind.TICKED))

    async def stop_after_three() -> None:
        while len(history.events(EventKind.TICKED)) < ticks + 3:
            await anyio.lowlevel.checkpoint()
        history.mind.stopping = True

    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            group.start_soon(history.ticker.run)
            group.start_soon(stop_after_three)


@pytest.mark.parametrize("leases", [True, False])
async def test_leads_names_only_what_is_surely_ours(begin: Begin, leases: bool) -> None:
    """§6.3: past the renew deadline nothing is shown as led."""
    history = await begin()
    if not leases:
        history.mind.held = replace(Held(), until=history.mind.held.until)
    assert bool(history.mind.leads()) is leases
    _expire(history)
    assert history.mind.leads() == {}


def _expire(history: History) -> None:
    history.clock.now += 60.0
