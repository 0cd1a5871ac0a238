"""Bugs of what may be paid when, and of how it is bound to a nonce (protocol.md §2, R1, R2, R10)."""

from dataclasses import replace
from typing import Any, Final

import pytest
from tests.simulation.bugs.planting import edit, reword, statement, swap, wrap
from tests.simulation.bugs.seed import Bug

from treasuryd.core import eligibility, epochs, planner, proposals
from treasuryd.core.model import Height, Status
from treasuryd.store import dependencies, recording, standing, view
from treasuryd.store import staging as binding
from treasuryd.store.rows import ids_json
from treasuryd.store.sqlite_store import SqliteStore


def trust_the_plan(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, binding._Staging, "_item_hold", lambda _: lambda _self, _row: None)
    old = " AND live_intent IS NULL AND status = 'timelocked'\n    AND cancel_requested IS NULL AND hold IS NULL"
    reword(patch, standing.SQL, "bind", old, "")


def number_first(patch: pytest.MonkeyPatch) -> None:
    sql = statement(patch, "UPDATE account SET next_nonce = next_nonce + ? WHERE id = ?")

    def make(right: Any) -> Any:
        async def stage(self: Any, drafts: Any, held: Any, *, at: Any) -> Any:
            for account in sorted({draft.account for draft in drafts}):
                many = sum(draft.account == account for draft in drafts)
                await self._driver.write(_execute, sql, (many, account))
            return await right(self, drafts, held, at=at)

        return stage

    def begin(right: Any) -> Any:
        def init(self: Any, work: Any, drafts: Any, held: Any, at: Any) -> None:
            right(self, work, drafts, held, at)
            for draft in drafts:
                purse = self._purses[draft.account]
                purse.next_nonce = None if purse.next_nonce is None else purse.next_nonce - 1

        return init

    wrap(patch, SqliteStore, "stage", make)
    wrap(patch, binding._Staging, "__init__", begin)


def _execute(connection: Any, sql: str, bound: Any) -> None:
    connection.execute(sql, bound)


def take_before_staging(patch: pytest.MonkeyPatch) -> None:
    """A tick marks in the store what it is about to stage; whoever comes after a crash finds it taken."""
    readers: list[Any] = []
    end = "UPDATE disbursement SET hold = NULL, hold_detail = '' WHERE "
    give_back = statement(patch, end + "hold_detail = ?")
    take = statement(
        patch,
        "UPDATE disbursement SET hold = 'restored', hold_detail = ? WHERE id = ? AND live_intent IS NULL",
    )
    stage_it = statement(patch, end + "id = ? AND hold = 'restored'")

    def make(right: Any) -> Any:
        async def view_(self: Any, held: Any, *, at: Any, limit: int) -> Any:
            if not hasattr(self, "reads_as"):
                readers.append(self)
                self.reads_as = f"taken by reader {len(readers)}"
            mark = self.reads_as
            await self._driver.write(_execute, give_back, (mark,))
            seen = await right(self, held, at=at, limit=limit)
            for item in seen.candidates:
                await self._driver.write(_execute, take, (mark, item.id))
            return seen

        return view_

    def stage(right: Any) -> Any:
        def taken(connection: Any, rules: Any, drafts: Any, *args: Any) -> Any:
            connection.executemany(stage_it, [(draft.disbursement_id,) for draft in drafts])
            return right(connection, rules, drafts, *args)

        return taken

    wrap(patch, SqliteStore, "view", make)
    wrap(patch, binding, "stage", stage)


def tidy_up(patch: pytest.MonkeyPatch) -> None:
    """There is no retention in the product; this is what a careless one would do."""
    old = "SELECT id FROM intent WHERE state = 'staged' AND staged_at < ?"
    steps = [
        statement(patch, f"UPDATE disbursement SET live_intent = NULL WHERE live_intent IN ({old})"),
        statement(patch, f"DELETE FROM variant WHERE intent_id IN ({old})"),
        statement(patch, f"DELETE FROM intent WHERE id IN ({old})"),
    ]

    def make(right: Any) -> Any:
        def record(connection: Any, rules: Any, batch: Any, held: Any, at: Any, *args: Any) -> Any:
            for sql in steps:
                connection.execute(sql, (at.unix - 1,))
            return right(connection, rules, batch, held, at, *args)

        return record

    wrap(patch, recording, "record", make)


def scan_the_first(patch: pytest.MonkeyPatch) -> None:
    scanned = "\nWHERE d.id IN (SELECT id FROM disbursement WHERE account = ?1 ORDER BY id LIMIT 8) AND d.account = ?1"
    for name in ("candidates", "next_destinations"):
        reword(patch, view.SQL, name, " INDEXED BY disbursement_payable\nWHERE d.account = ?1", scanned)


def rolled_back_is_met(patch: pytest.MonkeyPatch) -> None:
    def make(right: Any) -> Any:
        def hold(item: Any, *, known: Any, satisfied: Any = frozenset()) -> Any:
            over = {id_ for id_, status in known.items() if status is Status.ROLLED_BACK}
            seen = {id_: Status.FINALIZED if id_ in over else status for id_, status in known.items()}
            return right(item, known=seen, satisfied=satisfied)

        return hold

    def fail(_: Any) -> Any:
        def fail_dependents(connection: Any, ids: Any) -> list[Any]:
            connection.execute(dependencies.SQL["recount_dependents"], (ids_json(ids), 0))
            return []

        return fail_dependents

    wrap(patch, eligibility, "dependencies_hold", make)
    wrap(patch, dependencies, "fail_dependents", fail)
    for name in ("recount_dependents", "recount", "recount_waiting"):
        reword(patch, dependencies.SQL, name, "= 'finalized'", "IN ('finalized', 'rolled_back')")


def executed_is_met(patch: pytest.MonkeyPatch) -> None:
    edit(
        patch,
        eligibility,
        "dependencies_hold",
        ("status is not Status.FINALIZED", "status not in {Status.FINALIZED, Status.EXECUTED}"),
    )
    for name in ("candidates", "next_destinations"):
        reword(patch, view.SQL, name, " INDEXED BY disbursement_payable\n", "\n")
        reword(patch, view.SQL, name, " AND d.unmet = 0", "")


def end_by_the_seen(patch: pytest.MonkeyPatch) -> None:
    def make(right: Any) -> Any:
        def settled(state: Any, belief: Any, rules: Any) -> Any:
            ahead = replace(belief, lowest=Height(state.believed + rules.finality_depth))
            moved, after = right(state, ahead, rules)
            return moved, replace(after, lowest=belief.lowest)

        return settled

    wrap(patch, epochs, "_settled", make)


def open_by_the_settled(patch: pytest.MonkeyPatch) -> None:
    edit(patch, planner, "_open_vote", ("Epoch(at.seen + window)", "Epoch(at.settled + window)"))
    edit(patch, planner, "_close_vote", ("Epoch(at.seen + timelock)", "Epoch(at.settled + timelock)"))


def approve_anything(patch: pytest.MonkeyPatch) -> None:
    swap(patch, proposals, "approved", lambda *_args, **_options: True)


def skip_the_schedule(patch: pytest.MonkeyPatch) -> None:
    edit(patch, eligibility, "reason_to_hold", ("settled < item.scheduled_epoch", "False"))
    for name in ("candidates", "next_destinations"):
        reword(patch, view.SQL, name, " AND d.scheduled_epoch <= ?2", " AND ?2 IS NOT NULL")


def skip_the_timelock(patch: pytest.MonkeyPatch) -> None:
    edit(patch, planner, "_close_vote", ("Epoch(at.seen + timelock)", "at.settled"))


def root_anywhere(patch: pytest.MonkeyPatch) -> None:
    swap(patch, planner, "_rooted", lambda *_: True)


def forget_the_dependents(patch: pytest.MonkeyPatch) -> None:
    swap(patch, dependencies, "recount_dependents", lambda *_: None)
    swap(patch, dependencies, "mend", lambda *_: None)


BUGS: Final = (
    Bug(
        name="cancel_beside_staging",
        rule="R10",
        story="staging trusts the plan and does not look at the row that a cancel writes, too",
        plant=trust_the_plan,
        world={"often": (("cancel_in_its_work", 10.0),)},
    ),
    Bug(
        name="nonce_reserved_apart",
        rule="R1",
        story="nonces are numbered in a transaction of their own, before the one that binds",
        plant=number_first,
        world={"accounts": 1, "often": (("crash_at_staging", 10.0),)},
    ),
    Bug(
        name="taken_before_staged",
        rule="R1",
        story="a tick marks in the store what it is about to stage, before it stages it",
        plant=take_before_staging,
        world={"accounts": 1, "often": (("crash_at_staging", 10.0),)},
    ),
    Bug(
        name="retention_drops_staged",
        rule="R1",
        story="retention deletes staged intents that are more than a second old",
        plant=tidy_up,
        world={"accounts": 1, "executors": 1, "often": (("die_unsealed", 10.0),)},
    ),
    Bug(
        name="scan_limit",
        rule="§4",
        story="a tick looks through the first few items of an account and never at those behind them",
        plant=scan_the_first,
        world={"accounts": 1, "often": (("ask", 20.0),)},
    ),
    Bug(
        name="rolled_back_dependency_met",
        rule="§2",
        story="a dependency that was rolled back counts as met",
        plant=rolled_back_is_met,
    ),
    Bug(
        name="executed_dependency_met",
        rule="§2",
        story="a dependency counts as met as soon as it is in a block",
        plant=executed_is_met,
    ),
    Bug(
        name="dependents_not_recounted",
        rule="§2",
        story="what waits for an item does not hear that it is finalized",
        plant=forget_the_dependents,
    ),
    Bug(
        name="windows_end_by_seen_epoch",
        rule="§2",
        story="what ends by the settled epoch ends by the seen one",
        plant=end_by_the_seen,
    ),
    Bug(
        name="timelock_from_settled_epoch",
        rule="§2",
        story="what opens from the seen epoch opens from the settled one",
        plant=open_by_the_settled,
    ),
    Bug(
        name="no_timelock",
        rule="§2",
        story="what was voted for is payable as soon as the vote ends",
        plant=skip_the_timelock,
    ),
    Bug(
        name="votes_not_counted",
        rule="§2",
        story="whatever was voted on is approved",
        plant=approve_anything,
    ),
    Bug(
        name="schedule_ignored",
        rule="§2",
        story="what is scheduled for later is paid now",
        plant=skip_the_schedule,
    ),
    Bug(
        name="staged_on_adopted_count",
        rule="R2",
        story="the first nonce follows on a count that a reorg may take back",
        plant=root_anywhere,
        world={"accounts": 1, "used_before": 1.0},
    ),
)
