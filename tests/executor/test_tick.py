"""One tick when the chain answers badly, late or not at all: what it writes agrees, and what it could not do is told."""

from dataclasses import replace
from typing import Any

import pytest
from tests.executor.conftest import Begin
from tests.matrix import Row
from tests.world import AMOUNT, PAYER, RULES, History, new

from treasuryd.core.events import EventKind, Severity
from treasuryd.core.model import (
    BreakerMode,
    BreakerOverride,
    CallClass,
    Endpoint,
    Epoch,
    Evidence,
    State,
    Status,
)
from treasuryd.errors import Corrupt, Transient
from treasuryd.executor.tick import tick


def failing(history: History, name: str, error: Exception | None = None) -> None:
    """Let every call of one port method fail."""

    def cut(called: str, after: bool) -> None:
        if called == name and not after:
            raise error or Transient("no answer")

    history.fuse.watch = cut


def well(history: History) -> None:
    history.fuse.watch = lambda _name, _after: None


async def test_when_no_head_can_be_read_nothing_happens_and_it_is_told(begin: Begin) -> None:
    """The tick fails as a whole: told, noted for people, and tried again at the next poll."""
    history = await begin()
    await history.run(3)
    (item,) = await history.submit(new("rent"))
    failing(history, "chain.heads")

    await history.run(2)

    assert await history.desk.intents(item) == []
    assert [event.reason for event in history.events(EventKind.TICK_FAILED)] == ["chain", "chain"]
    assert "no answer" in (history.mind.vitals().last_error or "")
    well(history)
    await history.finalized([item])
    assert history.mind.vitals().last_error is None


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("chain.frame", "frame"),
        ("chain.headers", "settle"),
        ("chain.sightings", "settle"),
        ("chain.quote", "quote"),
    ],
)
async def test_a_reading_that_fails_stops_nothing_else(begin: Begin, name: str, reason: str) -> None:
    """Governance goes on, what could not be read is told, nothing new is begun, and later everything is paid."""
    history = await begin()
    (first,) = await history.submit(new("first"))
    await history.run(2, blocks=0)
    (item,) = await history.submit(new("rent", to="tb1bob"))
    failing(history, name)
    history.seen.events.clear()

    await history.step()
    await history.step()

    assert await history.status(item) is Status.TIMELOCKED  # it was a draft
    assert {event.reason for event in history.events(EventKind.CALL_FAILED)} == {reason}
    assert await history.desk.intents(item) == []
    assert history.mind.waiting == {"chain_unreachable": 1}
    well(history)
    await history.finalized([first, item])
    assert (history.paid("first"), history.paid("rent")) == (1, 1)


@pytest.mark.matrix(Row.DISK_FULL)
async def test_a_storage_error_ends_the_process(begin: Begin) -> None:
    """§7: never caught; until the end health says that the store fails."""
    history = await begin()
    failing(history, "store.view", Corrupt("disk I/O error"))
    with pytest.raises(Corrupt, match="disk"):
        await history.ticker.once()
    assert history.mind.vitals().store_failing


async def test_an_empty_chain_waits(begin: Begin) -> None:
    """N2, N15: before the first block nothing is staged, no header is asked for, and nothing fails."""
    history = await begin(blocks=0)
    (item,) = await history.submit(new("rent"))

    await history.run(5, blocks=0)

    assert await history.desk.intents(item) == []
    assert "light.latest_header" not in history.transport.methods
    assert history.events(EventKind.TICK_FAILED) == []
    assert (await history.account()).next_nonce is None
    await history.finalized([item])


async def test_a_block_between_heads_and_frame_is_looked_at_again(begin: Begin) -> None:
    """R16: a frame above the believed head is used when a second look at the heads believes it."""
    history = await begin()
    await history.run(3)
    (item,) = await history.submit(new("rent"))

    def mine(name: str, after: bool) -> None:
        if name == "chain.frame" and not after:
            history.mine()

    history.fuse.watch = mine
    await history.tick()
    assert (await history.intent(item)).state is State.BROADCAST


async def test_a_frame_that_stays_above_belief_is_not_used(begin: Begin) -> None:
    """R16: it would date what it shows into the future: nothing is staged by it, and no baseline moves."""
    history = await begin(rules=replace(RULES, max_blocks_per_second=0.001))
    await history.run(3, blocks=0)
    (item,) = await history.submit(new("rent"))
    baseline = (await history.account()).baseline

    def race(name: str, after: bool) -> None:
        if name == "chain.frame" and not after:
            history.mine(30)

    history.fuse.watch = race
    await history.tick()

    assert await history.desk.intents(item) == []
    assert (await history.account()).baseline == baseline


@pytest.mark.parametrize("evidence", [Evidence.HASH, Evidence.BALANCE])
async def test_the_ticker_does_not_spin_while_sends_are_refused(begin: Begin, evidence: Evidence) -> None:
    """D24: with the send breaker open everything is staged and sealed once, and then the ticker rests."""
    history = await begin(evidence)
    await history.run(3)
    word = BreakerOverride(
        endpoint=Endpoint("node-0"), call_class=CallClass.SEND, mode=BreakerMode.FORCED_OPEN, reason="test"
    )
    history.chain.force([word])
    items = await history.submit(*(new(f"pay {n}", to=f"tb1to{n}", amount=100_000) for n in range(40)))
    sends = history.transport.methods.count("submit_tx")

    await history.step(blocks=0)
    ticks = [await history.tick() for _ in range(5)]

    assert ticks[1:] == [1, 1, 1, 1]
    assert history.transport.methods.count("submit_tx") == sends
    history.chain.force([replace(word, mode=BreakerMode.AUTO)])
    await history.finalized(items, seconds=200)


async def test_the_ticker_does_not_spin_over_rows_that_cannot_be_written(begin: Begin) -> None:
    """A plan whose rows come back unwritten is tried at the next poll, not at once."""
    history = await begin()
    await history.run(3)
    await history.submit(new("rent", amount=AMOUNT))
    rows = "UPDATE disbursement SET status = 'timelocked'"
    await history.sql.write(lambda connection: connection.execute(rows))
    await history.sql.write(lambda connection: connection.execute("UPDATE account SET chain_balance = 0"))

    assert await history.tick() == 1


async def test_a_fast_chain_alone_keeps_nobody_busy(begin: Begin) -> None:
    """A block more is written down once; the ticker then rests, and says nothing above debug."""
    history = await begin()
    await history.run(3)
    history.seen.events.clear()
    assert [await _one_block(history) for _ in range(3)] == [1, 1, 1]
    assert {event.severity for event in history.seen.events} <= {Severity.DEBUG}


async def _one_block(history: History) -> int:
    history.clock.now += 1.0
    history.mine()
    return await history.tick()


async def test_batches_grow_with_the_queue_and_shrink_again(begin: Begin) -> None:
    """§4: the rows per list follow the depth of the queue between floor and ceiling."""
    rules = replace(RULES, batch_min=2, batch_max=8, max_unburned=16)
    history = await begin(rules=rules)
    items = await history.submit(*(new(f"pay {n}", to=f"tb1to{n}", amount=100_000) for n in range(30)))
    sizes = set()
    for _ in range(12):
        await history.step()
        sizes.add(history.mind.batch)
    assert max(sizes) == 8
    await history.finalized(items, seconds=100)
    await history.run(5)
    assert history.mind.batch == 2


async def test_a_report_says_what_was_done(begin: Begin) -> None:
    """The log line, the snapshot and the tests are renderings of it."""
    history = await begin()
    await history.run(3)
    await history.submit(new("rent"), new("huge", to="tb1huge", amount=10**12))
    first = await tick(history.world, history.rules, history.trade(), history.mind, history.mind.held)
    second = await tick(history.world, history.rules, history.trade(), history.mind, history.mind.held)
    assert (first.staged, first.more) == (0, True)
    assert (second.staged, second.sealed, second.sent, second.last_nonce) == (1, 1, 1, 1)
    assert {EventKind.STAGED, EventKind.SEALED, EventKind.SENT} <= {event.kind for event in second.events}


async def test_a_batch_takes_one_look_two_commits_one_signature_commit_and_one_record(begin: Begin) -> None:
    """§4.2, §4.6 to §4.8: whatever its size; each step is durable before the next begins, and nothing is asked twice."""
    history = await begin()
    await history.run(3)
    await history.submit(*(new(f"pay {n}", to=f"tb1to{n}", amount=100_000) for n in range(12)))
    assert await history.ticker.once()  # the drafts are advanced; now they can be paid
    commits: list[str] = []
    for driver, name in zip(history.drivers, ("store", "ledger"), strict=True):
        driver.write = _counted(driver.write, name, commits)  # type: ignore[method-assign]  # overheard
    history.fuse.calls.clear()
    history.fuse.watch = lambda name, after: None if after else commits.append(name)

    await history.ticker.once()

    steps = [
        "chain.heads", "chain.frame", "store.view", "chain.quote", "signer.vet", "store.stage", "signer.sign",
        "store.seal", "chain.broadcast", "store.record",
    ]  # fmt: skip
    assert [name for name in history.fuse.calls if name in steps] == steps
    staging = commits[commits.index("store.stage") : commits.index("chain.broadcast")]
    assert [name for name in staging if name in {"store", "ledger"}] == ["store", "ledger", "store"]
    assert commits[commits.index("chain.broadcast") :].count("store.record") == 1
    assert len(history.pooled()) == 12


def _counted(write: Any, name: str, commits: list[str]) -> Any:
    async def counted(*args: Any, **kwargs: Any) -> Any:
        commits.append(name)
        return await write(*args, **kwargs)

    return counted


async def test_the_moment_is_shown_as_soon_as_the_chain_was_read(begin: Begin) -> None:
    """Votes are judged by it: a tick that fails later does not leave an old one standing."""
    history = await begin()
    await history.run(3)
    history.mine(9)
    history.clock.now += 5
    failing(history, "store.record", Transient("locked"))
    await history.ticker.once()
    assert history.mind.at is not None
    assert (history.mind.at.believed, history.mind.at.seen) == (14, Epoch(1))
    assert PAYER in history.mind.leads()
