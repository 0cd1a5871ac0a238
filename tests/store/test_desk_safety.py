"""What the original lost or undid must not happen here: crashes between statements, races, restarts, stray files."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.store.deskworld import GOOD, INTAKE, NOW, OPS, PERSON, PROPOSAL, DeskWorld, opened, request, vote

from treasuryd.core.intake import check, from_payload, items_of
from treasuryd.core.model import Disbursement, DisbursementId, Filter, Height, Status
from treasuryd.core.reading import read_csv, read_json
from treasuryd.core.staging import draft
from treasuryd.errors import Rejected
from treasuryd.ports import Submission
from treasuryd.sqlite.connect import Connection
from treasuryd.sqlite.inline import COMMITTED, InlineDriver

Command = Callable[[DeskWorld], Awaitable[Any]]


class Crash(BaseException):
    """The process ends here."""


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[DeskWorld]:
    async with opened(tmp_path) as found:
        yield found


def picture(connection: Connection) -> dict[str, list[Any]]:
    """Everything that is stored, table by table."""
    tables = [
        row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
    ]
    return {
        table: connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall()
        for table in tables
        if not table.startswith("sqlite_")
    }


async def ambiguous_case(world: DeskWorld) -> None:
    item, _ = await world.submit(GOOD | {"ref": "a"}, GOOD | {"depends_on_refs": ["a"]})
    await world.account()
    await world.ambiguous(item, first=20, second=22, fall=107)


async def paid_case(world: DeskWorld) -> None:
    item, _ = await world.submit(GOOD | {"ref": "a"}, GOOD | {"depends_on_refs": ["a"]})
    await world.account(state="frozen", cause="deep_reorg")
    await world.paid(item)


async def voting_case(world: DeskWorld) -> None:
    (item,) = await world.submit(GOOD | {"proposal": PROPOSAL})
    await world.voting(item, deadline=9)


async def batch_case(world: DeskWorld) -> None:
    await world.desk.open_batch("b", now=NOW, expires_seconds=60)
    await world.desk.add_part("b", 1, request(GOOD, GOOD, key="b/1"), now=NOW)


ONE = DisbursementId(1)
COMMANDS: list[tuple[str, Command, Command]] = [
    (
        "submit",
        ambiguous_case,
        lambda world: world.desk.submit(
            request(GOOD | {"proposal": PROPOSAL, "depends_on": [1]}, GOOD), now=NOW
        ),
    ),
    ("seal", batch_case, lambda world: world.desk.seal_batch("b", parts=1, now=NOW)),
    ("vote", voting_case, lambda world: world.desk.take_vote(vote(ONE), now=NOW)),
    ("cancel", voting_case, lambda world: world.desk.cancel([ONE], by=PERSON)),
    ("request", ambiguous_case, lambda world: world.desk.cancel([ONE], by=PERSON)),
    ("rollback", paid_case, lambda world: world.desk.rollback(ONE, by=PERSON)),
    (
        "paid",
        ambiguous_case,
        lambda world: world.desk.resolve([ONE], paid=True, by=PERSON, believed=Height(99)),
    ),
    (
        "void",
        ambiguous_case,
        lambda world: world.desk.resolve([ONE], paid=False, by=PERSON, believed=Height(99)),
    ),
    ("reopen", paid_case, lambda world: world.desk.reopen(ONE, by=PERSON)),
    ("freeze", ambiguous_case, lambda world: world.desk.freeze(OPS, by=PERSON)),
]


@pytest.mark.parametrize(("name", "arrange", "command"), COMMANDS, ids=[name for name, _, _ in COMMANDS])
async def test_a_crash_between_any_two_statements_leaves_all_of_a_command_or_none(
    tmp_path: Path, name: str, arrange: Command, command: Command
) -> None:
    """D16: status, books, holds and journal are one transaction; every statement of every command is tried."""
    stops = 0
    while True:
        folder = tmp_path / str(stops)
        folder.mkdir()
        async with opened(folder) as world:
            await arrange(world)
            before = await world.driver.read(picture)
            assert isinstance(world.driver, InlineDriver)
            count, committed = 0, False

            def stop(statement: str, at: int = stops) -> None:
                nonlocal count, committed
                committed = committed or statement == COMMITTED
                if count == at:
                    raise Crash
                count += 1

            world.driver.before_statement = stop
            try:
                await command(world)
            except Crash:
                crashed = True
            else:
                crashed = False
            world.driver.before_statement = None
            after = await world.driver.read(picture)
            if not crashed:
                assert after != before
                break
            if not committed:
                assert after == before, f"{name}: something stayed of what stopped before statement {stops}"
        stops += 1
    assert stops > 3, "a command without statements would prove nothing"


async def test_of_a_cancel_and_a_staging_exactly_one_wins(tmp_path: Path) -> None:
    """D16: both write the row by compare-and-set; whichever is second finds it changed and does nothing else."""

    def stage(connection: Connection, item: int, intent: int) -> bool:
        # what staging does to the row (R10): only where the item is timelocked and has no intent
        bound = connection.execute(
            "UPDATE disbursement SET live_intent = ?2 WHERE id = ?1 AND status = 'timelocked' AND live_intent IS NULL"
            " AND cancel_requested IS NULL RETURNING account",
            (item, intent),
        ).fetchall()
        if bound:
            connection.execute(
                "INSERT INTO intent (id, account, nonce, disbursement_id, destination, amount, fee, term, state, live,"
                " step, staged_at) VALUES (?1, 'tb1ops', ?1, ?2, 'tb1payee', 1, 1, 1, 'staged', 1, 'sign', 0)",
                (intent, item),
            )
        return bool(bound)

    async with opened(tmp_path, kind="threaded") as world:
        ids = await world.submit(*[GOOD | {"amount": number} for number in range(1, 41)])
        await world.timelocked(*ids)

        async def stage_deferred(item: int) -> bool:
            def run(connection: Connection) -> bool:
                connection.execute("PRAGMA defer_foreign_keys = ON")
                return stage(connection, item, 1_000 + item)

            return await world.driver.write(run)

        outcomes = await asyncio.gather(
            *(
                job
                for number, item in enumerate(ids)
                for job in (
                    [world.desk.cancel([item], by=PERSON), stage_deferred(item)]
                    if number % 2
                    else [stage_deferred(item), world.desk.cancel([item], by=PERSON)]
                )
            )
        )
        assert len(outcomes) == 80
        for item in ids:
            stored = await world.item(item)
            rolled_back = stored.status is Status.ROLLED_BACK
            assert rolled_back == (stored.live_intent is None)
            assert rolled_back != (stored.cancel_requested is not None)


async def test_intake_never_undoes_a_status(tmp_path: Path) -> None:
    """D16: requests that come in while rows move touch no row but their own."""
    async with opened(tmp_path, kind="threaded") as world:
        ids = await world.submit(*[GOOD | {"amount": number} for number in range(1, 11)])
        await asyncio.gather(
            *(world.paid(item) for item in ids),
            *(world.submit(GOOD | {"amount": 1_000 + number}) for number in range(10)),
        )
        assert {(await world.item(item)).status for item in ids} == {Status.EXECUTED}
        assert len((await world.desk.find(Filter(limit=200))).items) == 20


async def test_a_proposal_and_its_votes_survive_a_restart(tmp_path: Path) -> None:
    """D20: quorum, windows and votes are read back as they were stored; the item stays one that is voted on."""
    full = PROPOSAL | {"vote_window_epochs": 9, "timelock_epochs": 8, "rollback_window_epochs": 7, "deps": []}
    async with opened(tmp_path) as world:
        (item,) = await world.submit(GOOD | {"proposal": full})
        await world.voting(item, deadline=9)
        await world.desk.take_vote(vote(item), now=NOW)
        before = await world.item(item)
        votes = list(await world.desk.votes(item))
    async with opened(tmp_path) as world:
        after = await world.item(item)
        assert after == before
        assert after.proposal is not None
        assert (after.proposal.operators_ppm, after.proposal.vote_window_epochs) == (600_000, 9)
        assert list(await world.desk.votes(item)) == votes != []


async def test_a_file_beside_the_store_is_never_read_as_state(tmp_path: Path) -> None:
    """D39: neither the original's mirror file nor a forged journal copy makes a disbursement."""
    forged = [
        {"id": 1, "destination": "tb1thief", "amount": 10, "status": {"Timelocked": {"ready_epoch": 0}}}
    ]
    for name in ("treasury_disbursements.json", "disbursements.json", "treasuryd.json"):
        (tmp_path / name).write_text(json.dumps(forged))
    (tmp_path / "journal").mkdir()
    async with opened(tmp_path) as world:
        assert (await world.desk.find(Filter())).items == ()
        assert await world.submit(GOOD) == [1]
        assert [item.destination for item in (await world.desk.find(Filter())).items] == ["tb1payee"]


async def test_an_amount_above_the_limit_leaves_nothing_behind(world: DeskWorld) -> None:
    """D29: 2^63-1 is stored and read back exactly; 2^63 never reaches the store."""
    (item,) = await world.submit(GOOD | {"amount": 2**63 - 1})
    assert (await world.item(item)).amount == 2**63 - 1
    with pytest.raises(Rejected, match="9223372036854775807"):
        await world.submit(GOOD | {"amount": 2**63})
    assert len((await world.desk.find(Filter())).items) == 1


async def test_the_memo_that_is_staged_is_the_memo_that_was_approved(world: DeskWorld) -> None:
    """D25: 8,192 bytes go in and come out for signing, to the last one."""
    memo = "\u20ac" * 2_730 + "ab"
    (item,) = await world.submit(GOOD | {"memo": memo})
    stored = await world.item(item)
    assert stored.memo == memo
    assert len(draft(stored, fee=stored.amount).memo.encode()) == 8_192


async def test_every_way_in_stores_the_same_payment(world: DeskWorld) -> None:
    """D37: REST, JSON-RPC and CSV pass one gate and end in rows that differ by their keys alone."""
    ways: dict[str, list[object]] = {
        "rest": items_of(read_json(json.dumps(GOOD | {"account": OPS}).encode())),
        "rpc": [from_payload({"disbursement": GOOD | {"account": OPS}})],
        "csv": [
            row.item
            for row in read_csv(
                b"account,destination,amount,memo,scheduled_epoch\ntb1ops,tb1payee,100,rent,1\n"
            )
        ],
    }
    stored: list[Disbursement] = []
    for key, items in ways.items():
        checked = check(items, key=key, intake=INTAKE).or_raise()
        done = await world.desk.submit(
            Submission(key=checked.key, request_digest=checked.request_digest, items=checked.items), now=NOW
        )
        stored += done.items
    assert len({item.payload_digest for item in stored}) == 1
    assert len({item.idempotency_key for item in stored}) == 3


async def test_ten_thousand_pending_items_are_all_there_after_a_restart(tmp_path: Path) -> None:
    """D17: nothing is dropped by count, whatever its status."""
    async with opened(tmp_path) as world:
        for number in range(10):
            await world.submit(*[GOOD | {"amount": number * 1_000 + row + 1} for row in range(1_000)])
    async with opened(tmp_path) as world:
        assert (await world.desk.facts()).counts[Status.DRAFT] == 10_000
        assert (await world.item(DisbursementId(1))).amount == 1
