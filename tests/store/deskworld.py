"""A desk over a real database, requests to hand in, and rows put where an executor would have put them."""

import json
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest

from treasuryd.core.intake import Intake, check
from treasuryd.core.model import (
    AccountId,
    Approval,
    Decision,
    Disbursement,
    DisbursementId,
    Epoch,
    Evidence,
    HouseName,
    Rules,
    UnixSeconds,
    Vote,
)
from treasuryd.errors import Refusal, Rejected
from treasuryd.ports import Submission, Submitted
from treasuryd.sqlite.connect import Connection, Database, Driver
from treasuryd.sqlite.inline import InlineDriver
from treasuryd.sqlite.threaded import ThreadedDriver
from treasuryd.store.desk import SqliteDesk
from treasuryd.store.journal_copy import JournalCopy
from treasuryd.store.migrations import STORE_APPLICATION_ID, prepare

T = TypeVar("T")

NOW = UnixSeconds(1_700_000_000.0)
OPS = AccountId("tb1ops")
GRANTS = AccountId("tb1grants")
RULES = Rules(
    allow_treasury_initiated=True,
    finality_depth=3,
    epoch_blocks=10,
    min_rollback_window_epochs=2,
)
INTAKE = Intake(rules=RULES, accounts=(OPS, GRANTS), evidence=Evidence.HASH)
PERSON = Approval(who="ada", reason="because", at=NOW)
GOOD: dict[str, Any] = {"destination": "tb1payee", "amount": 100, "memo": "rent", "scheduled_epoch": 1}
PROPOSAL: dict[str, Any] = {"title": "Rent", "summary": "For May", "quorum": {"operators_ppm": 600_000}}


def request(
    *items: dict[str, Any], key: str | None = "k", whole: bool = True, account: str | None = OPS
) -> Submission:
    """A request through the real gate."""
    named = [item if account is None else {"account": account} | item for item in items]
    checked = check(named, key=key, intake=INTAKE, whole=whole).or_raise()
    return Submission(key=checked.key, request_digest=checked.request_digest, items=checked.items)


def vote(
    item: DisbursementId, *, counter: int = 0, seen: int = 0, decision: str = "approve", key: str = "aa"
) -> Vote:
    return Vote(
        disbursement_id=item,
        house=HouseName.OPERATORS,
        key=key,
        counter=counter,
        decision=Decision(decision),
        signature="5e" * 64,
        seen_epoch=Epoch(seen),
    )


async def refused(verb: Awaitable[object]) -> tuple[str, str | None, Refusal]:
    """Words, field and class of the refusal that this ends with."""
    with pytest.raises(Rejected) as caught:
        await verb
    return caught.value.message, caught.value.field, caught.value.kind


@dataclass(kw_only=True)
class DeskWorld:
    """The desk, its driver, and what the tests do behind its back."""

    driver: Driver
    desk: SqliteDesk
    path: Path
    statements: list[str] = field(default_factory=list)

    async def submit(self, *items: dict[str, Any], key: str | None = None) -> list[DisbursementId]:
        """Hand in items and answer their ids."""
        done: Submitted = await self.desk.submit(request(*items, key=key), now=NOW)
        return [item.id for item in done.items]

    async def item(self, item: DisbursementId) -> Disbursement:
        (found,) = await self.desk.get([item])
        assert found is not None
        return found

    async def sql(self, text: str, *values: Any) -> list[tuple[Any, ...]]:
        """One statement behind the desk's back."""

        def run(connection: Connection) -> list[tuple[Any, ...]]:
            rows: list[tuple[Any, ...]] = connection.execute(text, values).fetchall()
            return rows

        return await self.driver.write(run)

    async def account(self, account: str = OPS, **columns: Any) -> None:
        """An account as it was adopted."""
        known = {
            "next_nonce": 5,
            "high_water": 4,
            "chain_balance": 1_000,
            "booked": 1_000,
            "chain_nonce": 4,
        } | columns
        names = ", ".join(["id", *known])
        marks = ", ".join("?" * (len(known) + 1))
        await self.sql(f"INSERT OR REPLACE INTO account ({names}) VALUES ({marks})", account, *known.values())

    async def chain(self, *, believed: int, settled: int = 0) -> None:
        await self.sql("UPDATE chain SET believed = ?, settled = ?", believed, settled)

    async def timelocked(self, *ids: DisbursementId) -> None:
        """As the tick leaves approved items."""
        for item in ids:
            await self.sql(
                "UPDATE disbursement SET status = 'timelocked', ready_epoch = 1 WHERE id = ?", item
            )

    async def voting(self, item: DisbursementId, *, deadline: int) -> None:
        await self.sql(
            "UPDATE disbursement SET status = 'voting', vote_deadline_epoch = ? WHERE id = ?", deadline, item
        )

    async def intent(
        self, item: DisbursementId, state: str, *, fee: int = 7, hashes: tuple[str, ...] = ("a1",)
    ) -> int:
        """A live intent of a timelocked item, with one sent payment per hash."""
        ((intent,),) = await self.sql(
            "UPDATE counter SET next = next + 1 WHERE name = 'intent' RETURNING next - 1"
        )
        step = {"staged": "sign", "signed": "send", "broadcast": "watch"}.get(state)
        await self.sql(
            "INSERT INTO intent (id, account, nonce, disbursement_id, destination, amount, fee, term, state, live, step,"
            " staged_at) SELECT ?, account, ?, id, destination, amount, ?, 1, ?, 1, ?, ? FROM disbursement WHERE id = ?",
            *(intent, intent, fee, state, step, NOW, item),
        )
        for number, tx_hash in enumerate(hashes, start=1):
            await self.sql(
                "INSERT INTO variant (intent_id, number, kind, fee, staged_at, tx_hash, sent_at, attempts, tx_bytes)"
                " VALUES (?, ?, 'payment', ?, ?, ?, ?, 1, x'00')",
                *(intent, number, fee + number - 1, NOW, tx_hash * 32, NOW),
            )
        await self.sql(
            "UPDATE disbursement SET live_intent = ?, status = 'timelocked' WHERE id = ?", intent, item
        )
        return int(intent)

    async def paid(
        self, item: DisbursementId, *, state: str = "final", height: int = 20, ends: int = 4
    ) -> int:
        """An executed item whose intent is included or final."""
        intent = await self.intent(item, state)
        await self.sql(
            "UPDATE intent SET winner = 1, height = ?, cost = amount + fee WHERE id = ?", height, intent
        )
        await self.sql(
            "UPDATE disbursement SET status = 'executed', tx_hash = ?, executed_height = ?, executed_epoch = ?,"
            " finalize_epoch = ?, evidence = 'hash', fee_paid = 7 WHERE id = ?",
            *("a1" * 32, height, height // 10, ends, item),
        )
        return intent

    async def ambiguous(
        self, item: DisbursementId, *, first: int, second: int, fall: int, hashes: tuple[str, ...] = ("a1",)
    ) -> int:
        """An ambiguous intent between two frames in which the balance fell by `fall`; of one height, one frame."""
        intent = await self.intent(item, "ambiguous", hashes=hashes)
        frames = [
            json.dumps({"base_fee": 1, "holdings": {OPS: [balance, nonce]}})
            for balance, nonce in ((1_000, 99 if first == second else 0), (1_000 - fall, 99))
        ]
        await self.sql(
            "INSERT INTO ambiguity VALUES (?, ?, 'h1', ?, 'h2', ?, ?, ?)", intent, first, second, *frames, NOW
        )
        return intent

    async def journal(self, verb: str) -> list[dict[str, Any]]:
        """Bodies of people's entries of one verb."""
        rows = await self.sql(
            "SELECT body FROM journal WHERE chain = 'people' AND verb = ? ORDER BY seq", verb
        )
        return [json.loads(row[0]) for row in rows]

    async def said(self) -> list[tuple[str, str, float, dict[str, Any]]]:
        """Every entry of every chain: chain, verb, time, and what it says beside the rows that it changed."""
        rows = await self.sql("SELECT chain, verb, at, body FROM journal ORDER BY id")
        return [
            (
                chain,
                verb,
                at,
                {what: told for what, told in json.loads(body).items() if what not in {"tx", "rows"}},
            )
            for chain, verb, at, body in rows
        ]


@asynccontextmanager
async def opened(path: Path, *, kind: str = "inline", rules: Rules = RULES) -> AsyncIterator[DeskWorld]:
    """A desk over the database in `path`, by either driver, with the journal's outside copy."""
    database = Database(path=path / "treasuryd.db", application_id=STORE_APPLICATION_ID)
    copy = JournalCopy(path / "journal")
    driver: Driver
    if kind == "inline":
        driver = await InlineDriver.open(database, committed=copy)
    else:
        driver = await ThreadedDriver.open(database, committed=copy)
    try:
        await driver.write(prepare, chain_id=1, lineage="l1")
        yield DeskWorld(driver=driver, desk=SqliteDesk(driver, rules), path=path)
    finally:
        await driver.close()
        copy.close()
