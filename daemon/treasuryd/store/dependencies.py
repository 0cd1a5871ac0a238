"""Keeps `unmet` true and holds what can never be satisfied (protocol.md §2); each change costs what it touches."""

from collections.abc import Iterable
from typing import Final

from treasuryd.core.dependencies import find_cycle, trace
from treasuryd.core.events import EventKind, Severity
from treasuryd.core.model import AccountId, DisbursementId, Hold, Rules, State, Status
from treasuryd.sqlite.connect import Connection
from treasuryd.store.queries import load
from treasuryd.store.rows import ids_json
from treasuryd.store.work import Work

SQL: Final = load("dependencies.sql")


def recount(connection: Connection, ids: Iterable[DisbursementId], rules: Rules) -> None:
    """Count anew what these items themselves still wait for: at intake, in the transaction that stores them."""
    connection.execute(SQL["recount"], (ids_json(ids), int(rules.dependency_satisfied_by_final)))


def recount_dependents(connection: Connection, ids: Iterable[DisbursementId], rules: Rules) -> None:
    """These became satisfied, or are so no longer: count anew what directly depends on them."""
    connection.execute(SQL["recount_dependents"], (ids_json(ids), int(rules.dependency_satisfied_by_final)))


def fail_dependents(
    connection: Connection, ids: Iterable[DisbursementId]
) -> list[tuple[DisbursementId, AccountId]]:
    """These were rolled back: hold what directly depends on them; answers those, with their accounts."""
    return [
        (row[0], row[1]) for row in connection.execute(SQL["fail_dependents"], (ids_json(ids),)).fetchall()
    ]


def fail_dependents_of(work: Work, ids: Iterable[DisbursementId]) -> None:
    """As `fail_dependents`, told and journalled."""
    for item, account in fail_dependents(work.connection, ids):
        held(work, item, account, Hold.DEPENDENCY_FAILED, "a dependency was rolled back")


def held(work: Work, item: DisbursementId, account: AccountId, hold: Hold, detail: str) -> None:
    """Tell and journal a stored hold."""
    work.note(account, "held", (item, hold))
    work.fact(EventKind.HELD, account, hold, item=item, severity=Severity.WARNING, detail=detail)


def count_dependents(connection: Connection, ids: Iterable[DisbursementId]) -> dict[DisbursementId, int]:
    """How many items directly depend on each of these; those on which nothing does are missing."""
    return dict(connection.execute(SQL["dependents_counted"], (ids_json(ids),)).fetchall())


def statuses_of(
    connection: Connection, ids: Iterable[DisbursementId], rules: Rules
) -> tuple[
    dict[DisbursementId, list[DisbursementId]], dict[DisbursementId, Status], frozenset[DisbursementId]
]:
    """Real rows for the check inside (R10): edges of the items, statuses of what they need, what counts by setting."""
    edges: dict[DisbursementId, list[DisbursementId]] = {}
    known: dict[DisbursementId, Status] = {}
    final: set[DisbursementId] = set()
    for item, needs, status, state in connection.execute(SQL["edges_of"], (ids_json(ids),)):
        edges.setdefault(item, []).append(needs)
        if status is not None:
            known[needs] = Status(status)
        if rules.dependency_satisfied_by_final and status == Status.EXECUTED and state == State.FINAL:
            final.add(needs)
    return edges, known, frozenset(final)


def mend(work: Work, account: AccountId) -> None:
    """
    Look once, when an account is taken over, at all that waits there: recount, and hold what waits for ever.

    What depends on itself, on something missing or on something rolled back can only have got into the rows behind
    the back of intake; each such item is held alone and visibly (D9, D38).
    """
    work.connection.execute(SQL["recount_waiting"], (account, int(work.rules.dependency_satisfied_by_final)))
    edges: dict[DisbursementId, set[DisbursementId]] = {}
    for item, needs, status in work.connection.execute(SQL["waiting_edges"], (account,)).fetchall():
        edges.setdefault(item, set()).add(needs)
        if status is None:
            hold(work, item, account, Hold.DEPENDENCY_MISSING, f"its dependency {needs} does not exist")
        elif status == Status.ROLLED_BACK:
            hold(work, item, account, Hold.DEPENDENCY_FAILED, f"its dependency {needs} was rolled back")
    while cycle := find_cycle(edges):
        for item in cycle:
            hold(work, item, account, Hold.DEPENDENCY_CIRCULAR, trace(cycle))
            del edges[item]
    for row in work.connection.execute(SQL["end_approval_lost"], (account,)).fetchall():
        work.note(account, "released", row[0])
        work.fact(EventKind.RELEASED, account, Hold.APPROVAL_LOST, item=row[0])


def hold(work: Work, item: DisbursementId, account: AccountId, why: Hold, detail: str) -> None:
    """Store a hold on what is not under way, told and journalled."""
    work.connection.execute(SQL["hold"], (why, detail, item))
    held(work, item, account, why, detail)
