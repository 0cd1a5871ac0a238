"""Any sequence of verbs leaves rows that agree with each other."""

import asyncio
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.store.kit import FEE, PAYER, Bench, block, depend, opened, seen, sent, signed

from treasuryd.core.changes import (
    BaselineMoved,
    BlockBuried,
    Burned,
    Change,
    FinalizeDue,
    Rewound,
    Unproven,
    VariantStaged,
)
from treasuryd.core.model import Epoch, Height, Intent, Nonce, Refused, VariantKind
from treasuryd.ports import written
from treasuryd.sqlite.connect import Connection
from treasuryd.sqlite.inline import InlineDriver
from treasuryd.store import dependencies
from treasuryd.store.journal import chain_of, verify
from treasuryd.store.rows import SHARED, ids_json, intents

STEPS = (
    "submit",
    "submit",
    "pay",  # the ordinary way in one step, so that walks get far
    "pay",
    "settle",
    "stage",
    "unstage",
    "seal",
    "send",
    "include",
    "cancel",
    "replace",
    "grow",
    "rewind",
    "bury",
    "burn",
    "doubt",
    "finalize",
    "take over",
)
WAYS = {
    "pay": (("stage", 7), ("seal", 7), ("send", 7)),
    "settle": (("include", 7), ("grow", 1), ("bury", 1), ("finalize", 7)),
}
Walk = Sequence[tuple[str, int]]


@given(walk=st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 7)), min_size=20, max_size=60))
@settings(max_examples=40, deadline=None)
def test_rows_agree_after_any_sequence_of_verbs(walk: Walk) -> None:
    """§10: one payment per disbursement and nonce, books that add up, dependencies that count, a journal that verifies."""
    asyncio.run(_walk(walk))


async def _walk(walk: Walk) -> None:
    driver = await opened(InlineDriver)
    walker = Walker(Bench(driver))
    try:
        await walker.bench.adopt(PAYER)
        for step, choice in walk:
            await walker.take(step, choice)
            await driver.read(agree)
    finally:
        await driver.close()


class Walker:
    """Takes steps; what does not apply comes back unwritten and changes nothing."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench

    async def take(self, step: str, choice: int) -> None:
        bench = self.bench
        match step:
            case "submit":
                await self._submit(choice)
            case "pay" | "settle":
                for each, how in WAYS[step]:
                    await self.take(each, how)
            case "stage":
                found = await bench.store.view(bench.held, at=bench.at(), limit=choice + 1)
                drafts = await bench.drafts(item.id for item in found.candidates)
                await bench.store.stage(drafts, bench.held, at=bench.at())
            case "seal":
                await bench.store.seal(signed(await self._intents()), bench.held)
            case "unstage":
                rows = [
                    Refused(row=0, reason="no", intent_id=intent.id, final=True, first=place == choice)
                    for place, intent in enumerate(await self._intents())
                ]
                await bench.store.unstage(rows, bench.held)
            case "cancel":
                await bench.sql(
                    "UPDATE disbursement SET cancel_requested = 'stop' WHERE id = ? AND status = 'timelocked'",
                    choice,
                )
            case "take over":
                await bench.claim(PAYER)
            case _:
                await bench.record(await self._changes(step, choice))

    async def _submit(self, choice: int) -> None:
        bench = self.bench
        lost = "SELECT id FROM disbursement WHERE status = 'rolled_back'"
        known = await bench.sql(f"SELECT id FROM disbursement WHERE id NOT IN ({lost})")
        [item] = await bench.insert(amount=100 + choice)
        if known and choice % 2:
            await bench.driver.write(depend, item, known[choice % len(known)][0])
            await bench.driver.write(dependencies.recount, [item], bench.rules)

    async def _changes(self, step: str, choice: int) -> list[Change]:
        bench, found = self.bench, await self._intents()
        one = found[choice % len(found)] if found else None
        height = int(bench.height)
        match step:
            case "send":
                return [sent(intent) for intent in found[: choice + 1]]
            case "include":
                return [
                    seen(intent, height, variant=1 + choice % len(intent.variants))
                    for intent in found[: choice + 1]
                ]
            case "replace" if one is not None:
                kind = VariantKind.CANCEL if choice % 2 else VariantKind.PAYMENT
                number = len(one.variants) + 1
                return [VariantStaged(account=PAYER, intent_id=one.id, number=number, kind=kind, fee=FEE)]
            case "grow":
                bench.height = Height(height + 1)
                bench.nonce = Nonce(0)
                return [BaselineMoved(account=PAYER, frame=bench.frame(), keep_from=Height(height - 3))]
            case "rewind":
                bench.height = Height(max(1_000, height - choice))
                return [Rewound(account=PAYER, to=bench.frame())]
            case "bury":
                at = Height(height - choice)
                return [BlockBuried(account=PAYER, height=at, block_hash=block(at))]
            case "burn" if one is not None:
                return [Burned(account=PAYER, intent_id=one.id)]
            case "doubt" if one is not None:
                return [Unproven(account=PAYER, intent_id=one.id, first=bench.frame(), second=bench.frame())]
            case "finalize":
                return [FinalizeDue(account=PAYER, settled=Epoch(100 + choice))]
        return []

    async def _intents(self) -> list[Intent]:
        def read(connection: Connection) -> list[Intent]:
            ids = [row[0] for row in connection.execute("SELECT id FROM intent WHERE live = 1")]
            return intents(connection.execute(SHARED["intents_by_id"], (ids_json(ids),)))

        return written(await self.bench.driver.read(read))


def agree(connection: Connection) -> None:
    """Every pair of tables that speaks of one thing says the same."""

    def none(sql: str) -> None:
        assert connection.execute(sql).fetchall() == [], sql

    none("PRAGMA foreign_key_check")
    none(
        "SELECT d.id, d.status, i.state FROM disbursement AS d JOIN intent AS i ON i.id = d.live_intent "
        "WHERE i.disbursement_id <> d.id OR i.live IS NULL "
        "OR (d.status IN ('executed', 'finalized')) <> (i.state IN ('included', 'final') AND (SELECT kind FROM variant "
        "WHERE intent_id = i.id AND number = i.winner) = 'payment')"
    )
    none(
        "SELECT i.id FROM intent AS i JOIN disbursement AS d ON d.id = i.disbursement_id "
        "WHERE i.live = 1 AND d.live_intent IS NOT i.id"
    )
    none("SELECT id FROM account WHERE booked <> (SELECT coalesce(sum(delta), 0) FROM balance_event)")
    none(
        "SELECT a.id FROM account AS a WHERE a.booked <> 1000000000000 + (SELECT coalesce(sum(delta), 0) "
        "FROM balance_event WHERE kind = 'unexplained') - (SELECT coalesce(sum(cost), 0) FROM intent "
        "WHERE state IN ('included', 'final') OR proof = 'cancelled')"
    )
    none(
        "SELECT id FROM disbursement AS d WHERE status IN ('timelocked') AND unmet <> (SELECT count(*) FROM dependency "
        "JOIN disbursement AS n ON n.id = needs WHERE disbursement_id = d.id AND n.status <> 'finalized')"
    )
    none(
        "SELECT d.id FROM disbursement AS d JOIN dependency AS e ON e.disbursement_id = d.id "
        "JOIN disbursement AS n ON n.id = e.needs WHERE n.status = 'rolled_back' AND d.status = 'timelocked' "
        "AND d.live_intent IS NULL AND d.hold IS NULL"
    )
    none("SELECT id FROM intent WHERE state <> 'void' AND nonce >= (SELECT next_nonce FROM account)")
    none(
        "SELECT next FROM counter WHERE name = 'finalized' "
        "AND next <> (SELECT count(*) FROM disbursement WHERE status = 'finalized')"
    )
    assert verify(connection, chain_of(PAYER)) > 0
