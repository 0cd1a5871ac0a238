"""What a tick costs follows its work, never the age of the store (protocol.md §4)."""

import re
import sqlite3
from collections.abc import AsyncIterator

import pytest
from tests.store.kit import OTHER, PAYER, Bench, block, opened, seen, sent, signed

from treasuryd.core.changes import BaselineMoved, BlockBuried, FinalizeDue
from treasuryd.core.model import Epoch, Evidence, Height, Nonce
from treasuryd.sqlite.connect import Connection
from treasuryd.sqlite.inline import InlineDriver
from treasuryd.store import dependencies, items, standing, view, voiding

BIG = ("disbursement", "intent", "variant", "balance_event", "dependency", "journal", "d", "i", "v", "e", "n")


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    driver = await opened(InlineDriver)
    bench = Bench(driver)
    await bench.adopt(PAYER, OTHER)
    yield bench
    await driver.close()


@pytest.mark.parametrize(
    ("module", "name", "sql"),
    [
        pytest.param(module.__name__, name, sql, id=name)
        for module in (view, items, standing, dependencies, voiding)
        for name, sql in module.SQL.items()
        if name not in ("all_accounts", "journal_heads")
    ],
)
async def test_no_query_scans_a_table_that_grows(bench: Bench, module: str, name: str, sql: str) -> None:
    """D27, D19: every statement of the hot path finds its rows by an index."""
    count = len(set(re.findall(r"\?\d", sql))) or sql.count("?")

    def plan(connection: Connection) -> list[str]:
        rows = connection.execute(f"EXPLAIN QUERY PLAN {sql}", ("[]",) * count).fetchall()
        return [row[3] for row in rows]

    steps = await bench.driver.read(plan)
    scans = [step for step in steps if re.match(rf"SCAN ({'|'.join(BIG)})\b", step)]
    assert scans == [], f"{module}.{name}"


async def _grow(bench: Bench, count: int) -> None:
    """Finished history: finalized items with final intents, variants and balance events; void ones too."""

    def write(connection: Connection) -> None:
        first = connection.execute("SELECT next FROM counter WHERE name = 'disbursement'").fetchone()[0]
        start = connection.execute("SELECT next FROM counter WHERE name = 'intent'").fetchone()[0]
        nonce = connection.execute("SELECT next_nonce FROM account WHERE id = ?", (PAYER,)).fetchone()[0]
        connection.execute("UPDATE counter SET next = next + ? WHERE name <> 'finalized'", (count,))
        connection.execute("PRAGMA defer_foreign_keys = ON")
        for place in range(count):
            item, intent, void = first + place, start + place, place % 50 == 0
            status = "rolled_back" if void else "finalized"
            connection.execute(
                "INSERT INTO disbursement (id, account, destination, amount, memo, scheduled_epoch, idempotency_key, "
                "request_digest, payload_digest, created_at, status, status_at, live_intent, finalize_epoch) "
                "VALUES (?, ?, 'tb1payee', 1, '', 1, ?, 'r', 'p', 1.0, ?, 1.0, ?, 2)",
                (item, PAYER, f"old-{item}", status, None if void else intent),
            )
            connection.execute(
                "INSERT INTO intent (id, account, nonce, disbursement_id, destination, amount, fee, term, state, live, "
                "staged_at, winner, height, block_hash, cost, proof) "
                "VALUES (?, ?, ?, ?, 'tb1payee', 1, 1, 1, ?, ?, 1.0, 1, 5, 'h', 2, ?)",
                (
                    intent,
                    PAYER,
                    nonce + place,
                    item,
                    *(("void", None, "burned") if void else ("final", 1, None)),
                ),
            )
            connection.execute(
                "INSERT INTO variant (intent_id, number, kind, fee, staged_at, tx_hash, tx_bytes) "
                "VALUES (?, 1, 'payment', 1, 1.0, 'h', x'00')",
                (intent,),
            )
            connection.execute(
                "INSERT INTO balance_event (account, kind, delta, balance, recorded_at, height) "
                "VALUES (?, 'execution', -2, 0, 1.0, 5)",
                (PAYER,),
            )
        connection.execute("UPDATE account SET next_nonce = ?", (nonce + count,))

    await bench.driver.write(write)
    [(after,)] = await bench.sql("SELECT next_nonce FROM account WHERE id = ?", PAYER)
    bench.nonce = Nonce(after - 1)
    bench.height = Height(bench.height + 1)
    for account in (PAYER, OTHER):
        await bench.written(
            BaselineMoved(account=account, frame=bench.frame(PAYER, OTHER), keep_from=bench.height)
        )


async def _tick(bench: Bench) -> None:
    """A whole tick with one payment, from the view to finalized."""
    [item] = await bench.insert()
    for evidence in Evidence.HASH, Evidence.BALANCE:
        await bench.store.view(bench.held, at=bench.at(bench.frame(PAYER, OTHER), evidence), limit=100)
    await bench.store.watched(bench.held, settled=bench.settled, limit=100)
    sealed = await bench.store.seal(signed(await bench.stage([item])), bench.held)
    [intent] = sealed
    assert not hasattr(intent, "reason")
    await bench.record([sent(intent)])
    await bench.record([seen(intent, 5_000)])
    await bench.record(
        [
            BlockBuried(account=PAYER, height=Height(5_000), block_hash=block(5_000)),
            FinalizeDue(account=PAYER, settled=Epoch(1_000)),
        ]
    )
    assert (await bench.item(item)).status == "finalized"


async def _steps(bench: Bench) -> int:
    """How many steps of SQLite's machine a tick takes; a count, so that no clock decides."""
    driver = bench.driver
    assert isinstance(driver, InlineDriver)
    counted = 0

    def step() -> int:
        nonlocal counted
        counted += 1
        return 0

    driver._writer.set_progress_handler(step, 10)
    await _tick(bench)
    driver._writer.set_progress_handler(None, 10)
    return counted


async def test_a_tick_costs_the_same_after_a_long_history(bench: Bench) -> None:
    """D19, D27: with thousands of finished rows a new item is paid in the next tick at the same cost."""
    await _tick(bench)
    young = await _steps(bench)
    await _grow(bench, 10_000)
    await _tick(bench)
    old = await _steps(bench)
    assert old <= young * 1.3, (young, old)


async def test_many_pending_items_are_all_there_and_each_tick_reads_its_share(bench: Bench) -> None:
    """D17: 10,000 pending items, none of them dropped; the view reads as many as it was asked for."""
    ids = await bench.insert(10_000)
    view_ = await bench.store.view(bench.held, at=bench.at(), limit=50)
    assert [item.id for item in view_.candidates] == ids[:50]
    assert await bench.sql("SELECT count(*) FROM disbursement WHERE status = 'timelocked'") == [(10_000,)]


def test_the_library_counts_steps() -> None:
    """The test above would pass for nothing if the progress handler did not work."""
    connection = sqlite3.connect(":memory:")
    heard: list[int] = []

    def step() -> int:
        heard.append(1)
        return 0

    connection.set_progress_handler(step, 10)
    connection.execute(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 1000) SELECT sum(i) FROM n"
    )
    connection.close()
    assert len(heard) > 100
