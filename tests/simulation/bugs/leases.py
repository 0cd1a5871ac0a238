"""Bugs of who may act (protocol.md §6, R13)."""

from typing import Any, Final

import pytest
from tests.simulation.bugs.planting import edit, swap, wrap
from tests.simulation.bugs.seed import Bug

from treasuryd.core import lease
from treasuryd.core.model import Proof
from treasuryd.executor.keeper import Keeper
from treasuryd.executor.loop import Ticker
from treasuryd.store import ownership, work
from treasuryd.store.standing import standing
from treasuryd.store.voiding import void


def no_fence(patch: pytest.MonkeyPatch) -> None:
    swap(patch, work, "ours", lambda _connection, held: frozenset(held.leases))


def by_the_wall_clock(patch: pytest.MonkeyPatch) -> None:
    wall = [0.0]

    def claim(right: Any) -> Any:
        async def asking(self: Any, wanted: Any) -> None:
            wall[0] = self.world.clock.unix_seconds()
            await right(self, wanted)

        return asking

    def by_wall(right: Any) -> Any:
        def judge(*args: Any, **options: Any) -> Any:
            return right(*args, **(options | {"now": wall[0]}))

        return judge

    wrap(patch, Keeper, "_claim", claim)
    wrap(patch, lease, "watch", by_wall)
    wrap(patch, lease, "takeable", by_wall)


def take_at_first_sight(patch: pytest.MonkeyPatch) -> None:
    edit(patch, lease, "ground_to_take", ("now - watched.since >= timing.candidate_wait_seconds", "True"))


def keep_the_term(patch: pytest.MonkeyPatch) -> None:
    edit(patch, ownership, "claim", ("Term(max(row.term, above.get(row.account, Term(0))) + 1)", "row.term"))


def renew_by_the_answer(patch: pytest.MonkeyPatch) -> None:
    """Validity counts from when the answer came, not from when the renewal was sent."""
    edit(
        patch,
        Keeper,
        "_renew",
        (
            "lease.renewed(sent_for, answered, asked_at=asked_at, timing=self.timing)",
            "lease.renewed(sent_for, answered, asked_at=self.world.clock.boot_seconds(), timing=self.timing)",
        ),
    )


def begin_anew(patch: pytest.MonkeyPatch) -> None:
    """A new holder gives up what its predecessor sealed and did not record as sent: surely it never left."""

    def make(right: Any) -> Any:
        def claim(connection: Any, rules: Any, silent: Any, me: Any, above: Any, now: Any) -> Any:
            answers = right(connection, rules, silent, me, above, now)
            for row in silent:
                sql = "SELECT id FROM intent WHERE account = ? AND state = 'signed' AND disbursement_id IS NOT NULL"
                ids = [found[0] for found in connection.execute(sql, (row.account,)).fetchall()]
                doing = work.Work(connection, rules, now)
                for intent in standing(connection, ids).values():
                    void(doing, intent, Proof.NEVER_BOUND, hold=None, detail="")
            return answers

        return claim

    wrap(patch, ownership, "claim", make)


def survive_its_storage(patch: pytest.MonkeyPatch) -> None:
    edit(patch, Ticker, "once", ("mind.store_failing = True", "return False"))


BUGS: Final = (
    Bug(
        name="no_fence",
        rule="R13",
        story="no write looks at the term",
        plant=no_fence,
        world={
            "executors": 3,
            "together": False,
            "horizon": 25.0,
            "often": (("stop_before_a_write", 10.0), ("ask", 10.0)),
        },
    ),
    Bug(
        name="lease_by_wall_clock",
        rule="§6",
        story="a candidate measures the silence of a lease by the wall clock",
        plant=by_the_wall_clock,
        world={"executors": 2, "together": False, "often": (("set_clock", 10.0), ("stop", 8.0))},
    ),
    Bug(
        name="lease_taken_at_first_sight",
        rule="§6",
        story="a candidate takes a lease that it has seen unchanged for a moment",
        plant=take_at_first_sight,
    ),
    Bug(
        name="term_kept",
        rule="§6",
        story="a new holder goes on under the old term",
        plant=keep_the_term,
    ),
    Bug(
        name="lease_from_the_answer",
        rule="§6",
        story="a renewal counts from when its answer came",
        plant=renew_by_the_answer,
        world={"executors": 3, "together": False, "horizon": 25.0, "often": (("stop_after_a_write", 10.0),)},
    ),
    Bug(
        name="sealed_taken_back",
        rule="R3",
        story="a new holder gives up what its predecessor sealed and did not record as sent",
        plant=begin_anew,
        world={"executors": 2, "often": (("crash_at_recording", 10.0),)},
    ),
    Bug(
        name="storage_error_survived",
        rule="§7",
        story="a process goes on after its storage failed",
        plant=survive_its_storage,
        world={"accounts": 1, "often": (("fill_the_disk_in_its_work", 12.0),)},
    ),
)
