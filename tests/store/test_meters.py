import re
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.store.kit import OTHER, PAYER, Bench, opened

from treasuryd.core.changes import BaselineMoved, HoldSet
from treasuryd.core.model import (
    AccountId,
    AccountMeters,
    AccountState,
    BreakerMode,
    BreakerOverride,
    CallClass,
    Endpoint,
    Height,
    Hold,
    Meters,
    Nonce,
    Rules,
    Status,
    UnixSeconds,
)
from treasuryd.sqlite.connect import Connection
from treasuryd.sqlite.inline import InlineDriver
from treasuryd.store import meters
from treasuryd.store.desk import SqliteDesk
from treasuryd.store.journal_copy import JournalCopy
from treasuryd.store.migrations import known
from treasuryd.store.queries import load_all

RULES = Rules(epoch_blocks=10, finality_depth=3, max_blocks_per_second=2.0, allow_treasury_initiated=True)


class Meter:
    """A store in a file, its journal's copy, and a desk that reads the meters."""

    def __init__(self, bench: Bench, copy: JournalCopy) -> None:
        self.bench = bench
        self.copy = copy

    async def read(self, *accounts: AccountId) -> Meters:
        """By a desk that remembers nothing: tests write rows behind the journal's back."""
        return await self.desk().meters(accounts or (PAYER, OTHER))

    def desk(self) -> SqliteDesk:
        return SqliteDesk(self.bench.driver, RULES, copy=self.copy)

    async def chain(self, *, settled_height: int, risen_at: float) -> None:
        await self.bench.sql(
            "UPDATE chain SET believed = ?1, settled_height = ?1, settled = ?1 / 10, risen_at = ?2",
            settled_height,
            risen_at,
        )


@pytest.fixture
async def meter(tmp_path: Path) -> AsyncIterator[Meter]:
    copy = JournalCopy(tmp_path / "journal")
    driver = await opened(InlineDriver, tmp_path / "store.db", committed=copy)
    bench = Bench(driver, rules=RULES)
    await bench.adopt(PAYER, OTHER)
    yield Meter(bench, copy)
    await driver.close()
    copy.close()


def size_of(folder: Path, pattern: str = "*") -> int:
    return sum(file.stat().st_size for file in folder.glob(pattern))


@pytest.mark.parametrize("name", ["unfinished", "held", "accounts", "first_in_line", "oldest_under_way"])
async def test_no_reading_walks_a_table(meter: Meter, name: str) -> None:
    """Counts walk a partial index of what is unfinished; nothing grows with what is finished."""
    sql = meters.SQL[name]

    def plan(connection: Connection) -> list[str]:
        count = len(set(re.findall(r"\?\d", sql)))
        return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", ("[]",) * count)]

    walks = [step for step in await meter.bench.driver.read(plan) if re.match(r"SCAN (?!json_each)", step)]
    assert [step for step in walks if "INDEX disbursement_" not in step] == [], name


async def test_what_stands_where_is_counted(meter: Meter) -> None:
    """Unfinished items by status; what a person has to look at by its hold, rolled back ones no more."""
    bench = meter.bench
    held, _, lost = await bench.insert(3)
    await bench.insert(2, status="queued")
    await bench.written(
        HoldSet(account=PAYER, disbursement_id=held, hold=Hold.REFUSED, detail="x"),
        HoldSet(account=PAYER, disbursement_id=lost, hold=Hold.POISONED, detail="x"),
    )
    await bench.sql("UPDATE disbursement SET status = 'rolled_back' WHERE id = ?", lost)
    found = await meter.read()
    counted = {status: count for status, count in found.counts.items() if count}
    assert counted == {Status.TIMELOCKED: 2, Status.QUEUED: 2, Status.ROLLED_BACK: 1}
    assert found.held == {Hold.REFUSED: 1}
    assert (found.schema_version, found.sqlite_version) == (max(known()), sqlite3.sqlite_version)


async def test_accounts_are_those_that_were_asked_for(meter: Meter) -> None:
    """With their leases and what is ambiguous; of an account that nobody knows nothing is said."""
    bench = meter.bench
    ids = await bench.insert(2)
    await bench.pay(ids)
    await bench.sql("UPDATE intent SET state = 'ambiguous', step = NULL")
    await bench.sql("UPDATE account SET state = 'frozen', cause = 'person' WHERE id = ?", OTHER)
    await bench.sql("DELETE FROM beat WHERE account = ?", OTHER)
    await bench.sql("DELETE FROM lease WHERE account = ?", OTHER)
    first, second = (await meter.read(PAYER, OTHER, AccountId("nobody"))).accounts
    one, two = (first, second) if first.id == PAYER else (second, first)
    assert (one.ambiguous, one.high_water, one.term, one.released) == (2, 2, 1, False)
    assert one.balance == bench.balance
    assert (two.state, two.cause, two.term, two.ambiguous) == (AccountState.FROZEN, "person", None, 0)


async def test_an_account_is_metered_as_it_is_stored(meter: Meter) -> None:
    """Each figure from its own column, also of an account whose lease was given back."""
    bench = meter.bench
    await bench.pay(await bench.insert(3))
    await bench.sql("UPDATE intent SET state = 'ambiguous', step = NULL WHERE id = 1")
    await bench.store.release(bench.held)
    assert (await meter.read(PAYER)).accounts == (
        AccountMeters(
            id=PAYER, balance=bench.balance, high_water=Nonce(3), ambiguous=1, term=1, released=True
        ),
    )


async def test_the_kill_switch_is_metered(meter: Meter) -> None:
    """A person's word that nothing is sent: off, and on."""
    assert not (await meter.read()).kill_switch
    word = BreakerOverride(
        endpoint=Endpoint("*"), call_class=CallClass.SEND, mode=BreakerMode.FORCED_OPEN, reason="stop"
    )
    await meter.desk().force_breaker(word)
    assert (await meter.read()).kill_switch


async def test_nothing_payable_has_no_age(meter: Meter) -> None:
    """Scheduled for later, held, waiting for another, under a cancel: none of these is payable."""
    bench = meter.bench
    await meter.chain(settled_height=1_000, risen_at=900.0)
    await bench.insert(1, scheduled_epoch=101)
    await bench.insert(1, hold="refused")
    await bench.insert(1, unmet=1)
    await bench.insert(1, cancel_requested="stop")
    await bench.insert(1, status="queued")
    assert (await meter.read()).oldest_payable_at is None


async def test_the_oldest_payable_item_is_found_wherever_it_stands(meter: Meter) -> None:
    """In line behind younger ones, or under way with a nonce; of accounts that are asked for."""
    bench = meter.bench
    await meter.chain(settled_height=1_000, risen_at=900.0)
    await bench.insert(3, scheduled_epoch=1, status_at=800.0)
    await bench.insert(1, scheduled_epoch=2, status_at=700.0)
    assert (await meter.read()).oldest_payable_at == UnixSeconds(700.0)
    [sent] = await bench.insert(1, scheduled_epoch=3, status_at=600.0)
    await bench.pay([sent])
    assert (await meter.read()).oldest_payable_at == UnixSeconds(600.0)
    await bench.insert(1, account=OTHER, scheduled_epoch=3, status_at=500.0)
    assert (await meter.read(PAYER)).oldest_payable_at == UnixSeconds(600.0)
    assert (await meter.read()).oldest_payable_at == UnixSeconds(500.0)


async def test_what_is_in_a_block_waits_for_nothing_of_ours(meter: Meter) -> None:
    """Finality comes by itself."""
    bench = meter.bench
    await bench.include(await bench.pay(await bench.insert(1)))
    assert (await meter.read()).oldest_payable_at is None


async def test_what_was_scheduled_later_is_payable_since_its_epoch(meter: Meter) -> None:
    """Approved long ago for epoch 90, which came 100 blocks ago: before we looked, at a block a second."""
    await meter.chain(settled_height=1_000, risen_at=900.0)
    await meter.bench.insert(1, scheduled_epoch=90, status_at=1.0)
    assert (await meter.read()).oldest_payable_at == UnixSeconds(800.0)


async def test_what_waited_for_another_is_payable_since_that_was_over(meter: Meter) -> None:
    """The wait for a dependency is not ours."""
    bench = meter.bench
    await meter.chain(settled_height=10_000, risen_at=10_000.0)
    [needed] = await bench.insert(1, status="rolled_back", status_at=7_700.0)
    [item] = await bench.insert(1, scheduled_epoch=0, status_at=6_000.0)
    await bench.sql("INSERT INTO dependency (disbursement_id, needs) VALUES (?, ?)", item, needed)
    assert (await meter.read()).oldest_payable_at == UnixSeconds(7_700.0)


async def test_the_store_says_how_large_it_is_and_what_its_copy_lacks(meter: Meter, tmp_path: Path) -> None:
    """Sizes are those of the files; an entry that this process did not copy is missing."""
    found = await meter.read()
    assert found.size_bytes == size_of(tmp_path, "store.db*")
    assert found.free_bytes > 0
    assert found.copy is not None
    assert found.copy.behind == 0
    assert found.copy.size_bytes == size_of(tmp_path / "journal")
    copied = meter.copy.copied
    assert copied == found.journal_head
    other = await InlineDriver.open(meter.bench.driver._database)  # type: ignore[attr-defined]
    await other.write(
        lambda connection: connection.execute(
            "INSERT INTO journal (chain, seq, at, verb, body, hash) VALUES ('people', 1, 1.0, 'x', '{}', 'h')"
        )
    )
    await other.close()
    behind = await meter.read()
    assert behind.journal_head == found.journal_head + 1
    assert behind.copy is not None
    assert behind.copy.behind == 1


async def test_a_store_in_memory_has_no_size(meter: Meter) -> None:
    """Nor a copy: tests and replays have one."""
    del meter
    driver = await opened(InlineDriver)
    found = await SqliteDesk(driver, RULES).meters((PAYER,))
    await driver.close()
    assert (found.size_bytes, found.free_bytes, found.copy, found.accounts) == (0, 0, None, ())
    assert found.oldest_payable_at is None


async def test_what_has_to_be_counted_is_counted_when_the_journal_moved(meter: Meter) -> None:
    """A row behind its back goes unseen; a payment, a settled epoch, other accounts have everything counted anew."""
    bench, desk = meter.bench, meter.desk()
    first, second, third = await bench.insert(3)
    assert (await desk.meters((PAYER,))).counts[Status.TIMELOCKED] == 3
    await bench.insert(1)
    assert (await desk.meters((PAYER,))).counts[Status.TIMELOCKED] == 3
    await bench.pay([first])
    assert (await desk.meters((PAYER,))).counts[Status.TIMELOCKED] == 4
    await bench.sql("UPDATE disbursement SET status = 'queued' WHERE id = ?", second)
    assert (await desk.meters((PAYER, OTHER))).counts[Status.TIMELOCKED] == 3
    await bench.sql("UPDATE disbursement SET status = 'queued' WHERE id = ?", third)
    await meter.chain(settled_height=2_000, risen_at=900.0)
    assert (await desk.meters((PAYER, OTHER))).counts[Status.QUEUED] == 2


async def test_a_chain_that_only_grows_has_nothing_counted_anew(meter: Meter) -> None:
    """A baseline moves with every block, and the journal with it; no item does. What is too much to look through does."""
    bench, desk = meter.bench, meter.desk()

    async def grow(blocks: int) -> Meters:
        for _ in range(blocks):
            bench.height = Height(bench.height + 1)
            frame = bench.frame(PAYER, OTHER)
            await bench.written(BaselineMoved(account=PAYER, frame=frame, keep_from=bench.height))
        return await desk.meters((PAYER,))

    await bench.insert(1)
    first = await grow(1)
    await bench.insert(1)
    later = await grow(meters.GLANCE)
    assert later.journal_head == first.journal_head + meters.GLANCE
    assert later.counts[Status.TIMELOCKED] == 1
    assert (await grow(3)).counts[Status.TIMELOCKED] == 1
    assert (await grow(meters.GLANCE + 1)).counts[Status.TIMELOCKED] == 2


def test_every_statement_that_writes_an_item_or_an_intent_is_known() -> None:
    """A reading that misses one would show old counts."""
    counting = set(meters._counting())
    assert {
        '"recording.advance"',
        '"staging.bind"',
        '"staging.insert_intent"',
        '"desk.put_disbursement"',
    } <= counting
    assert '"recording.insert_frame"' not in counting
    for name, sql in load_all().items():
        writes = re.search(r"^(?:INSERT(?: OR \w+)? INTO|UPDATE|DELETE FROM|REPLACE INTO) (\w+)", sql)
        assert writes is not None, name
        assert (f'"{name}"' in counting) or writes[1] not in {"disbursement", "intent"}, name


async def test_a_reading_of_a_store_at_rest_costs_the_same_however_much_waits(meter: Meter) -> None:
    """In steps of SQLite, so that no clock decides: 20,000 waiting items are counted once, and then known."""
    desk, driver = meter.desk(), meter.bench.driver
    assert isinstance(driver, InlineDriver)
    steps = 0

    def step() -> int:
        nonlocal steps
        steps += 1
        return 0

    async def cost() -> int:
        nonlocal steps
        steps = 0
        driver._reader.set_progress_handler(step, 1)
        found = await desk.meters((PAYER,))
        driver._reader.set_progress_handler(None, 1)
        assert found.journal_head > 0
        return steps

    first = await cost()
    at_rest = await cost()
    await meter.bench.insert(20_000)
    await meter.bench.pay(await meter.bench.insert(1))
    counted = await cost()
    assert counted > 20_000
    assert await cost() <= at_rest * 1.1 < first
