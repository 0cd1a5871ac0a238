"""Pages against a naive model, and every query of the desk against SQLite's plan: no request reads a whole history."""

import json
import re
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.store.deskworld import GOOD, NOW, OPS, PERSON, DeskWorld, opened

from treasuryd.core.model import (
    AccountId,
    BalanceEvent,
    BalanceKind,
    BaseUnits,
    Disbursement,
    DisbursementId,
    Filter,
    Height,
    Nonce,
    Snapshot,
    Status,
    UnixSeconds,
)
from treasuryd.errors import Refusal, Rejected
from treasuryd.sqlite.connect import Connection
from treasuryd.store import desk_queries
from treasuryd.store.desk_queries import DESK, FIRST_WINDOW, page_query
from treasuryd.store.migrations import known
from treasuryd.store.rows import SHARED

GROWING = (
    "disbursement",
    "intent",
    "variant",
    "dependency",
    "vote",
    "proposal",
    "balance_event",
    "journal",
    "request",
)
# Walks over a partial index whose rows are what is unfinished, held or ambiguous: work, not history.
OF_WORK = ("disbursement_unfinished", "disbursement_held", "intent_ambiguous")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[DeskWorld]:
    async with opened(tmp_path) as found:
        yield found


def full_scans(plan: list[str]) -> list[str]:
    """Steps of a plan that walk a growing table from end to end."""
    steps = [re.match(r"SCAN (\w+)(.*)", step) for step in plan]
    aliases = {"d": "disbursement", "i": "intent", "e": "dependency", "n": "disbursement", "v": "variant"}
    return [
        step[0]
        for step in steps
        if step is not None
        and aliases.get(step[1], step[1]) in GROWING
        and not any(index in step[2] for index in OF_WORK)
    ]


async def plan_of(world: DeskWorld, sql: str, values: list[Any] | None = None) -> list[str]:
    bound = values if values is not None else [0] * len(set(re.findall(r"\?\d+", sql)))
    return [row[3] for row in await world.sql(f"EXPLAIN QUERY PLAN {sql}", *bound)]


@pytest.mark.parametrize("name", sorted(DESK.keys() - SHARED.keys()))
async def test_no_query_of_the_desk_scans_a_growing_table(world: DeskWorld, name: str) -> None:
    """Each goes through a key or an index; the price follows the answer, not the age of the store."""
    assert full_scans(await plan_of(world, DESK[name])) == []


@pytest.mark.parametrize(
    "where",
    [
        pytest.param(Filter(), id="everything"),
        pytest.param(Filter(account=OPS, min_amount=3), id="by account"),
        pytest.param(Filter(destination="tb1payee"), id="by payee"),
        pytest.param(Filter(destination="tb1payee", statuses=(Status.DRAFT,)), id="by payee and status"),
        pytest.param(Filter(statuses=(Status.DRAFT, Status.QUEUED), max_epoch=4), id="unfinished ones"),
        pytest.param(Filter(statuses=(Status.FINALIZED, Status.DRAFT)), id="finalized ones too"),
        pytest.param(Filter(min_created_at=1, max_status_ts=9, max_amount=5), id="ranges"),
    ],
)
async def test_a_page_walks_an_index(world: DeskWorld, where: Filter) -> None:
    """Every shape of the page query is bounded by ids or goes through its index, already in the order of the answer."""
    sql, values = page_query(where, low=0, high=1_000, limit=50)
    plan = await plan_of(world, sql, values)
    assert full_scans(plan) == []
    assert any("rowid<" in step or "rowid>" in step or "id<" in step or "id>" in step for step in plan)
    if where.destination:
        assert any("disbursement_destination" in step for step in plan)
    if where.statuses and Status.FINALIZED not in where.statuses and not where.destination:
        assert any("disbursement_unfinished" in step for step in plan)


def test_the_plan_check_finds_a_scan() -> None:
    """A check that cannot fail would prove nothing."""
    assert full_scans(["SCAN disbursement", "SCAN d USING INDEX disbursement_draft", "SEARCH intent"]) == [
        "SCAN disbursement",
        "SCAN d USING INDEX disbursement_draft",
    ]


def fill(connection: Connection, count: int, *, status: str = "finalized") -> None:
    """A long history, as cheaply as possible; finalized rows point to some intent that nobody looks at."""
    connection.execute("PRAGMA ignore_check_constraints = ON")
    connection.execute(
        "WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id < ?1)"
        " INSERT INTO disbursement (id, account, destination, amount, memo, scheduled_epoch, idempotency_key,"
        " request_digest, payload_digest, created_at, status, status_at)"
        " SELECT id, 'tb1ops', 'tb1payee' || (id % 7), id, '', 1, 'h' || id, '', '', ?2 + id, ?3, ?2 + id FROM n",
        (count, NOW, status),
    )
    connection.execute("PRAGMA ignore_check_constraints = OFF")
    connection.execute("UPDATE counter SET next = ?1 + 1 WHERE name = 'disbursement'", (count,))


async def test_a_rare_match_far_back_is_found_within_bounds(world: DeskWorld) -> None:
    """The walk widens its windows; where the bound stops it, the cursor says where to go on and nothing is missed."""
    await world.driver.write(fill, 3 * FIRST_WINDOW)
    found = await world.desk.find(Filter(max_amount=2))
    assert [item.id for item in found.items] == [2, 1]
    assert found.next_cursor is None


async def test_the_walk_of_one_page_is_bounded(world: DeskWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """An emptier page with a cursor, instead of a request that reads for minutes."""
    monkeypatch.setattr(desk_queries, "WALK_BUDGET", 1_000)
    await world.driver.write(fill, 3 * FIRST_WINDOW)
    page = await world.desk.find(Filter(max_amount=2))
    assert page.items == ()
    assert page.next_cursor == 2 * FIRST_WINDOW + 2
    seen: list[int] = []
    cursor: DisbursementId | None = page.next_cursor
    while cursor is not None:
        page = await world.desk.find(Filter(max_amount=2, cursor=cursor))
        seen += [item.id for item in page.items]
        cursor = page.next_cursor
    assert seen == [2, 1]


@pytest.fixture
async def narrow(world: DeskWorld, monkeypatch: pytest.MonkeyPatch) -> DeskWorld:
    """Two hundred old rows, and pages that look at 10 ids, then at 40, and no further."""
    monkeypatch.setattr(desk_queries, "FIRST_WINDOW", 10)
    monkeypatch.setattr(desk_queries, "WALK_BUDGET", 50)
    await world.driver.write(fill, 200)
    return world


async def test_each_window_is_four_times_as_wide_until_the_budget_is_used_up(
    narrow: DeskWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One id more in the budget lets it look through one window more; a cursor above every id is none."""
    rare = Filter(max_amount=1)
    assert (await narrow.desk.find(rare)).next_cursor == 153
    assert (await narrow.desk.find(replace(rare, cursor=DisbursementId(10**9)))).next_cursor == 153
    monkeypatch.setattr(desk_queries, "WALK_BUDGET", 51)
    page = await narrow.desk.find(rare)
    assert ([item.id for item in page.items], page.next_cursor) == ([1], None)


async def test_a_page_that_is_full_looks_whether_more_follows(
    narrow: DeskWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then it is the last one; where the budget ends first, the next page goes on there, and not where this one found."""
    monkeypatch.setattr(desk_queries, "WALK_BUDGET", 1_000)
    page = await narrow.desk.find(Filter(min_amount=199, limit=2))
    assert ([item.id for item in page.items], page.next_cursor) == ([200, 199], None)
    page = await narrow.desk.find(Filter(min_amount=198, limit=2))
    assert ([item.id for item in page.items], page.next_cursor) == ([200, 199], 199)
    monkeypatch.setattr(desk_queries, "WALK_BUDGET", 10)
    page = await narrow.desk.find(Filter(min_amount=199, limit=2))
    assert ([item.id for item in page.items], page.next_cursor) == ([200, 199], 192)


async def test_a_walk_that_stops_above_the_very_first_id_says_so(
    narrow: DeskWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One id is left to be looked at."""
    monkeypatch.setattr(desk_queries, "WALK_BUDGET", 10)
    page = await narrow.desk.find(Filter(max_amount=1, cursor=DisbursementId(11)))
    assert (page.items, page.next_cursor) == ((), 2)
    page = await narrow.desk.find(Filter(max_amount=1, cursor=page.next_cursor))
    assert ([item.id for item in page.items], page.next_cursor) == ([1], None)


async def test_what_a_payee_got_is_read_from_its_index_alone(narrow: DeskWorld) -> None:
    """However far apart it lies; what may refuse much of it walks within the budget again."""
    payee = Filter(destination="tb1payee0", limit=200)
    page = await narrow.desk.find(payee)
    assert ([item.id for item in page.items], page.next_cursor) == (list(range(196, 0, -7)), None)
    for refusing in ({"statuses": (Status.DRAFT,)}, {"account": AccountId("tb1grants")}, {"max_amount": 1}):
        page = await narrow.desk.find(replace(payee, **refusing))
        assert (page.items, page.next_cursor) == ((), 153), refusing


async def test_a_payees_items_are_narrowed_by_status(world: DeskWorld) -> None:
    """One status or several, unfinished or not."""
    first, second, third = await world.submit(GOOD, GOOD, GOOD | {"destination": "tb1other"})
    await world.voting(second, deadline=5)
    for statuses, found in (
        ((Status.DRAFT,), [first]),
        ((Status.DRAFT, Status.VOTING, Status.FINALIZED), [second, first]),
        ((Status.FINALIZED,), []),
    ):
        page = await world.desk.find(Filter(destination=GOOD["destination"], statuses=statuses))
        assert [item.id for item in page.items] == found
    assert (await world.item(third)).status is Status.DRAFT


@pytest.mark.parametrize("limit", [0, 201, -1])
async def test_a_page_of_no_or_too_many_items_is_refused(world: DeskWorld, limit: int) -> None:
    """Both listings name the field; one and two hundred may be asked for."""
    for asked in (world.desk.find(Filter(limit=limit)), world.desk.waiting(cursor=None, limit=limit)):
        with pytest.raises(Rejected, match=f"must be 1 to 200, got {limit}") as caught:
            await asked
        assert (caught.value.field, caught.value.kind) == ("limit", Refusal.INVALID)
    for fine in (1, 200):
        assert (await world.desk.find(Filter(limit=fine))).items == ()
        assert (await world.desk.waiting(cursor=None, limit=fine)).items == ()


@pytest.mark.parametrize(("limit", "pages"), [(1, [[3], [2], [1]]), (2, [[3, 2], [1]]), (3, [[3, 2, 1]])])
async def test_pages_of_what_waits_end_with_the_last_item(
    world: DeskWorld, limit: int, pages: list[list[int]]
) -> None:
    """A page that just holds them all has none after it; what is held and ambiguous both is one item."""
    for item in await world.submit(GOOD, GOOD, GOOD):
        await world.ambiguous(item, first=1, second=2, fall=0)
    await world.sql("UPDATE disbursement SET hold = 'poisoned'")
    page = await world.desk.waiting(cursor=None, limit=limit)
    seen = [page]
    while page.next_cursor is not None:
        page = await world.desk.waiting(cursor=page.next_cursor, limit=limit)
        seen.append(page)
    assert [[item.id for item in page.items] for page in seen] == pages


async def test_the_largest_id_is_found_and_one_larger_is_none(world: DeskWorld) -> None:
    """A reader may ask for any number."""
    await world.submit(GOOD)
    await world.sql("UPDATE disbursement SET id = ?", desk_queries.MAX_ID)
    asked = (desk_queries.MAX_ID, desk_queries.MAX_ID + 1, -(2**70), 0)
    found = await world.desk.get([DisbursementId(item) for item in asked])
    assert [item and item.id for item in found] == [desk_queries.MAX_ID, None, None, None]


ITEMS = 24
STATUSES = st.lists(st.sampled_from(list(Status)), max_size=3).map(tuple)
BOUND = st.none() | st.integers(0, ITEMS)
WHERE = st.builds(
    Filter,
    statuses=STATUSES,
    destination=st.none() | st.sampled_from(["tb1p0", "tb1p1", "tb1none"]),
    account=st.none() | st.sampled_from([OPS, AccountId("tb1grants")]),
    min_epoch=BOUND,
    max_epoch=BOUND,
    min_amount=BOUND,
    max_amount=BOUND,
    min_created_at=BOUND,
    max_created_at=BOUND,
    min_status_ts=BOUND,
    max_status_ts=BOUND,
    cursor=st.none() | st.integers(1, ITEMS + 3).map(DisbursementId),
    limit=st.integers(1, 8),
)


def matches(item: Disbursement, where: Filter) -> bool:
    """Naive: each condition by itself, bounds inclusive in whole seconds."""
    pairs = [
        (where.min_epoch, where.max_epoch, item.scheduled_epoch),
        (where.min_amount, where.max_amount, item.amount),
        (where.min_created_at, where.max_created_at, int(item.created_at)),
        (where.min_status_ts, where.max_status_ts, int(item.status_at)),
    ]
    return (
        (not where.statuses or item.status in where.statuses)
        and where.destination in {None, item.destination}
        and where.account in {None, item.account}
        and all(
            (low is None or low <= value) and (high is None or value <= high) for low, high, value in pairs
        )
        and (where.cursor is None or item.id < where.cursor)
    )


@pytest.fixture
async def mixed(world: DeskWorld) -> tuple[DeskWorld, list[Disbursement]]:
    """Items that differ in everything that can be asked for."""
    ids = await world.submit(
        *[
            GOOD
            | {
                "amount": number % 9 + 1,
                "destination": f"tb1p{number % 2}",
                "scheduled_epoch": number % 5 + 1,
                "account": "tb1ops" if number % 3 else "tb1grants",
            }
            for number in range(ITEMS)
        ]
    )
    await world.sql("PRAGMA ignore_check_constraints = ON")
    for number, item in enumerate(ids):
        await world.sql(
            "UPDATE disbursement SET status = ?, created_at = ?, status_at = ? WHERE id = ?",
            *(list(Status)[number % 7], number + 0.5, (number * 7 % ITEMS) + 0.25, item),
        )
    return world, [await world.item(item) for item in ids]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(where=WHERE)
async def test_pages_are_those_of_a_naive_filter(
    mixed: tuple[DeskWorld, list[Disbursement]], where: Filter
) -> None:
    """Whatever is asked, following the cursors gives every match once, newest first."""
    world, items = mixed
    expected = [item.id for item in reversed(items) if matches(item, where)]
    found: list[int] = []
    asked, cursor = where, where.cursor
    for _ in range(ITEMS + 2):
        page = await world.desk.find(replace(asked, cursor=cursor))
        assert len(page.items) <= where.limit
        found += [item.id for item in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert found == expected
    assert cursor is None


async def test_history_is_paged_and_by_account(world: DeskWorld) -> None:
    """Newest first, ids below the cursor, one account or all."""
    for account in (OPS, "tb1grants"):
        await world.account(account)
    for number in range(1, 7):
        await world.sql(
            "INSERT INTO balance_event (account, kind, delta, balance, recorded_at) VALUES (?, 'funding', ?, 0, ?)",
            *(OPS if number % 2 else "tb1grants", number, NOW),
        )
    assert [event.delta for event in await world.desk.history(OPS, cursor=None, limit=2)] == [5, 3]
    assert [event.delta for event in await world.desk.history(OPS, cursor=3, limit=9)] == [1]
    assert [event.delta for event in await world.desk.history(None, cursor=None, limit=3)] == [6, 5, 4]


async def test_a_page_of_the_history_is_bounded(world: DeskWorld) -> None:
    """One more than a page holds is read, so that the reader of the page knows whether more follows; or none at all."""
    await world.account()
    await world.sql(
        "WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id < 203)"
        " INSERT INTO balance_event (account, kind, delta, balance, recorded_at) SELECT ?, 'funding', 1, id, 1 FROM n",
        OPS,
    )
    for asked, read in ((500, 201), (7, 7), (0, 0), (-1, 0)):
        assert len(await world.desk.history(None, cursor=None, limit=asked)) == read


async def test_a_movement_says_what_moved_and_where(world: DeskWorld) -> None:
    """Its disbursement and its block, for whoever reads a statement."""
    (item,) = await world.submit(GOOD)
    await world.account()
    await world.sql(
        "INSERT INTO balance_event (account, kind, delta, fee, balance, recorded_at, disbursement_id, height)"
        " VALUES (?, 'execution', -107, 7, 893, ?, ?, 20)",
        *(OPS, NOW, item),
    )
    assert await world.desk.history(OPS, cursor=None, limit=9) == [
        BalanceEvent(
            id=1,
            account=OPS,
            kind=BalanceKind.EXECUTION,
            delta=-107,
            fee=BaseUnits(7),
            balance=893,
            recorded_at=NOW,
            disbursement_id=item,
            height=Height(20),
        )
    ]


async def test_the_facts_name_the_store_and_what_reads_it(world: DeskWorld) -> None:
    """For `/health`."""
    facts = await world.desk.facts()
    said = (facts.sqlite_version, facts.schema_version, facts.lineage)
    assert said == (sqlite3.sqlite_version, max(known()), "l1")


async def test_intents_come_with_their_variants_and_without_bytes(world: DeskWorld) -> None:
    """Void ones and the live one, oldest first."""
    (item,) = await world.submit(GOOD)
    await world.intent(item, "broadcast")
    await world.sql("UPDATE intent SET state = 'void', live = NULL, step = NULL, proof = 'burned'")
    await world.sql("UPDATE disbursement SET live_intent = NULL")
    await world.intent(item, "signed", hashes=("b1", "b2"))
    first, second = await world.desk.intents(item)
    assert (first.state, second.state) == ("void", "signed")
    assert [(variant.number, variant.fee, variant.tx_bytes) for variant in second.variants] == [
        (1, 7, None),
        (2, 8, None),
    ]
    assert (second.memo, second.idempotency_key) == ("rent", (await world.item(item)).idempotency_key)


async def test_a_chain_of_dependents_is_followed_level_by_level(world: DeskWorld) -> None:
    """500 levels, a cycle in stored data included, end within the limit that was asked."""
    ids = await world.submit(
        *[
            GOOD | {"ref": f"r{number}"} | ({"depends_on_refs": [f"r{number - 1}"]} if number else {})
            for number in range(500)
        ]
    )
    await world.sql("INSERT INTO dependency VALUES (?, ?)", ids[0], ids[-1])
    found = await world.desk.dependents(ids[0], limit=1_000)
    assert found == [(item, distance) for distance, item in enumerate(ids[1:], start=1)]
    assert len(await world.desk.dependents(ids[0], limit=7)) == 7


async def test_the_snapshot_is_the_executors_last_tick(world: DeskWorld) -> None:
    """As it was noted, for people."""
    await world.sql(
        "INSERT INTO executor_snapshot VALUES (1, 5.0, 4.0, 3.0, 'node away', 2, 1, 9)",
    )
    assert await world.desk.snapshot() == Snapshot(
        last_tick_at=UnixSeconds(5.0),
        last_success_at=UnixSeconds(4.0),
        last_error_at=UnixSeconds(3.0),
        last_error="node away",
        pending_matured=2,
        staged_intents=1,
        last_submitted_nonce=Nonce(9),
    )


async def test_a_stored_journal_entry_is_whole_json(world: DeskWorld) -> None:
    """Every command can be read back by a machine."""
    (item,) = await world.submit(GOOD)
    await world.desk.cancel([item], by=PERSON)
    rows = await world.sql("SELECT body FROM journal")
    assert all(isinstance(json.loads(row[0]), dict) for row in rows)
